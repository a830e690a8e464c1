SELECT project, group_id, rule, credit, outcome, status, round(reward, 4) AS reward,
       round(advantage, 4) AS advantage, round(mean, 4) AS mean, round(std, 4) AS std, detail
FROM credits
WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
ORDER BY group_id, rule, credit
