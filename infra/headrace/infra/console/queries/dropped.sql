SELECT toString(fromUnixTimestamp64Milli(log_time, 'UTC')) AS newest, project, rollout_id, attempt,
       group_id, policy, trainer, reason, detail, version_max AS version, staleness,
       round(advantage, 4) AS advantage, tokens
FROM decisions
WHERE outcome = 'dropped' AND (reason != 'eval' OR {reason:String} = 'eval') AND ({policy:String} = '' OR policy = {policy:String})
  AND ({reason:String} = '' OR reason = {reason:String})
ORDER BY log_time DESC, sample_id LIMIT {limit:UInt32}
