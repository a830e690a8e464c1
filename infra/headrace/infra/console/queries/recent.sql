SELECT toString(fromUnixTimestamp64Milli(log_last, 'UTC')) AS newest, project, rollout_id, attempt,
       policy, version_max AS version,
       multiIf(state = 'open', 'open', status = 'error', 'error', NOT complete, 'incomplete',
               toString(status)) AS state
FROM episodes FINAL ORDER BY log_last DESC, rollout_id DESC LIMIT 8
