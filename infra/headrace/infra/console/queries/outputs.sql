SELECT project, rollout_id, attempt, any(calls) AS calls,
       arrayMap(x -> (x.3, x.4), arraySort(groupArray((started_at, span_id, said, characters)))) AS outputs
FROM (
    SELECT project, rollout_id, attempt, started_at, span_id, substringUTF8(x.output, 1, 1000) AS said,
           lengthUTF8(x.output) AS characters,
           count() OVER (PARTITION BY project, rollout_id, attempt) AS calls
    FROM spans AS x FINAL
    WHERE project IN {projects:Array(String)} AND rollout_id IN {rollouts:Array(String)} AND kind = 'call'
    ORDER BY started_at, span_id LIMIT 8 BY project, rollout_id, attempt
)
GROUP BY project, rollout_id, attempt
