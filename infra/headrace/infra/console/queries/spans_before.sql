WITH (
    SELECT (if(kind = 'attempt.end', ended_at, started_at), offset, span_id) FROM spans FINAL
    WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
      AND span_id = {span:String}
) AS own
SELECT countIf((if(kind = 'attempt.end', ended_at, started_at), offset, span_id) < own) AS spans FROM spans FINAL
WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
