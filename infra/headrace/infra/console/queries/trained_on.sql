SELECT project, rollout_id, attempt, any(used.group_id) AS group_id, count() AS samples,
       sum(used.tokens) AS tokens, max(used.staleness) AS staleness,
       round(any(used.reward_used), 4) AS reward_used, round(any(used.reward_now), 4) AS reward_now,
       round(avg(used.advantage_used), 4) AS advantage_used,
       round(avg(used.advantage_now), 4) AS advantage_now,
       if(max(used.revised), 'revised', '') AS revised
FROM lineage AS used
WHERE used.policy = {policy:String} AND used.version = {version:Int32}
GROUP BY project, rollout_id, attempt
ORDER BY advantage_used DESC, rollout_id LIMIT {limit:UInt32}
