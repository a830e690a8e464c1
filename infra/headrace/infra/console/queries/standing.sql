SELECT project, group_id, rule, credit, outcome, m.status AS status, round(m.reward, 4) AS reward,
       round(m.advantage, 4) AS advantage, round(mean, 4) AS mean, round(std, 4) AS std,
       m.reward_detail AS detail
FROM (
    SELECT project, group_id, rule, credit, outcome, mean, std, log_first, number,
           arrayJoin(members) AS m
    FROM groups FINAL
    LEFT JOIN (
        SELECT rule, credit, max(number) AS number FROM rule_changes GROUP BY rule, credit
    ) AS changes USING (rule, credit)
    WHERE project = {project:String} AND group_id = {group:String} AND state = 'final'
)
WHERE m.rollout_id = {rollout:String} AND m.attempt = {attempt:String}
ORDER BY number DESC, log_first DESC, rule DESC, credit DESC
