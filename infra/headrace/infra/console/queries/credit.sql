SELECT sample_id, agent, round(advantage, 4) AS advantage, trainable, reason, tokens, rule, credit
FROM samples
WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
ORDER BY group_id, rule, credit, sample_id LIMIT 1000
