SELECT policy, split, if(t.version >= 0, t.version, e.version_max) AS version, count() AS episodes
FROM (
    SELECT project, rollout_id, policy, split, version_max FROM episodes FINAL WHERE state = 'closed'
) AS e
LEFT JOIN (
    SELECT project, rollout_id, toNullable(version) AS version FROM tasks FINAL WHERE version >= 0
) AS t ON t.project = e.project AND t.rollout_id = e.rollout_id
WHERE version >= 0
GROUP BY policy, split, version ORDER BY policy, split, version
