SELECT trainer, sample_id, outcome, reason, step, staleness FROM outcomes FINAL
WHERE project = {project:String} AND rollout_id = {rollout:String}
  AND attempt IN ({attempt:String}, '')
ORDER BY trainer, sample_id LIMIT 1000
