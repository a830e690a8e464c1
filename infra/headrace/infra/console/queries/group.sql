SELECT project, group_id, rule, credit, state, outcome, policy, split, group_size, baseline,
       round(mean, 4) AS mean, round(std, 4) AS std, length(members) AS seen, missing_rollouts,
       toString(fromUnixTimestamp64Milli(log_first, 'UTC')) AS first_at,
       toString(fromUnixTimestamp64Milli(log_last, 'UTC')) AS last_at,
       if(close_by > 0, toString(fromUnixTimestamp64Milli(close_by, 'UTC')), '') AS closes_at
FROM groups FINAL
LEFT JOIN (
    SELECT rule, credit, max(number) AS number FROM rule_changes GROUP BY rule, credit
) AS changes USING (rule, credit)
WHERE project = {project:String} AND group_id = {group:String}
ORDER BY number DESC, log_first DESC, rule DESC, credit DESC LIMIT 20
