SELECT group_id, rule, credit, sample_id, agent, advantage, trainable, reason, tokens
FROM samples
WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
ORDER BY group_id, rule, credit, sample_id LIMIT 1000
