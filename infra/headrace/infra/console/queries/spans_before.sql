WITH (
    SELECT (started_at, offset, span_id) FROM spans FINAL
    WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
      AND span_id = {span:String}
) AS own
SELECT countIf((started_at, offset, span_id) < own) AS spans FROM spans FINAL
WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
