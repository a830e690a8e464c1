SELECT group_id, rule, credit, outcome, status, reward, advantage, mean, std
FROM credits
WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
ORDER BY group_id, rule, credit
