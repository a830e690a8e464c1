SELECT trainer, sample_id, outcome, reason, policy, if(step < 0, NULL, step) AS version, staleness,
       detail
FROM outcomes FINAL WHERE project = {project:String} AND rollout_id = {rollout:String}
  AND attempt IN ({attempt:String}, '')
ORDER BY trainer, sample_id LIMIT 1000
