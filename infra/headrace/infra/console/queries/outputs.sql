SELECT project, rollout_id, attempt, arrayMap(x -> x.2, arraySort(groupArray((started_at, said)))) AS outputs
FROM (
    SELECT project, rollout_id, attempt, started_at, substringUTF8(x.output, 1, 1000) AS said FROM spans AS x FINAL
    WHERE project IN {projects:Array(String)} AND rollout_id IN {rollouts:Array(String)} AND kind = 'call'
    ORDER BY started_at LIMIT 8 BY project, rollout_id, attempt
)
GROUP BY project, rollout_id, attempt
