WITH used AS (
    SELECT project, rollout_id, attempt, group_id, sample_id, tokens, staleness, reward, advantage
    FROM outcomes FINAL
    WHERE outcome = 'trained' AND policy = {policy:String} AND step = {version:Int32} AND trainer IN (
        SELECT trainer FROM policies FINAL
        WHERE policy = {policy:String} AND version = {version:Int32})
)
SELECT used.project AS project, used.rollout_id AS rollout_id, used.attempt AS attempt,
       any(used.group_id) AS group_id, count() AS samples, sum(used.tokens) AS tokens,
       max(used.staleness) AS staleness, round(any(used.reward), 4) AS reward_used,
       round(any(now.reward), 4) AS reward_now,
       round(avg(used.advantage), 4) AS advantage_used,
       round(avg(if(now.sample_id = '', NULL, now.advantage)), 4) AS advantage_now,
       if(max(now.sample_id != '' AND NOT (used.reward <=> now.reward
           AND used.advantage <=> toNullable(now.advantage))), 'revised', '') AS revised
FROM used
LEFT JOIN (
    SELECT project, s.sample_id AS sample_id, s.advantage AS advantage,
           arrayFirst(m -> m.rollout_id = s.rollout_id AND m.attempt = s.attempt, members).reward AS reward
    FROM (
        SELECT project, members, samples FROM current_groups
        WHERE (project, group_id) IN (SELECT project, group_id FROM used)
    )
    ARRAY JOIN samples AS s
) AS now ON now.project = used.project AND now.sample_id = used.sample_id
GROUP BY project, rollout_id, attempt
ORDER BY advantage_used DESC, rollout_id LIMIT {limit:UInt32}
