WITH used AS (
    SELECT project, rollout_id, attempt, sample_id, group_id, trainer, advantage, reward, tokens, staleness
    FROM outcomes FINAL
    WHERE policy = {policy:String} AND step = {version:Int32} AND outcome = 'trained'
)
SELECT used.project AS project, used.rollout_id AS rollout_id, used.attempt AS attempt,
       any(used.group_id) AS group_id, count() AS samples, sum(used.tokens) AS tokens,
       max(used.staleness) AS staleness, round(any(used.reward), 4) AS reward_used,
       round(any(now.reward), 4) AS reward_now, round(avg(used.advantage), 4) AS advantage_used,
       round(avg(now.advantage), 4) AS advantage_now,
       if(abs(advantage_used - advantage_now) > 1e-4, 'revised', '') AS revised
FROM used
LEFT JOIN (
    SELECT project, sample_id, reward, toNullable(advantage) AS advantage FROM samples
    WHERE group_id IN (SELECT group_id FROM used)
) AS now ON now.project = used.project AND now.sample_id = used.sample_id
GROUP BY project, rollout_id, attempt
ORDER BY advantage_used DESC, rollout_id LIMIT {limit:UInt32}
SETTINGS join_use_nulls = 1
