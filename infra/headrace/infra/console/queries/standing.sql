SELECT project, group_id, rule, credit, outcome, status, round(reward, 4) AS reward,
       round(advantage, 4) AS advantage, round(mean, 4) AS mean, round(std, 4) AS std, detail
FROM credits
WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
ORDER BY (group_id, toString(rule), toString(credit)) IN (
    SELECT group_id, toString(rule), toString(credit) FROM current_groups
    WHERE project = {project:String} AND group_id IN (
        SELECT group_id FROM episodes
        WHERE project = {project:String} AND rollout_id = {rollout:String})
) DESC, group_id, rule, credit
