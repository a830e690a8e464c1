SELECT project, group_id, rule, credit, state, outcome, policy, split, group_size, baseline,
       round(mean, 4) AS mean, round(std, 4) AS std, length(members) AS seen, missing_rollouts,
       toString(fromUnixTimestamp64Milli(log_first, 'UTC')) AS first_at,
       toString(fromUnixTimestamp64Milli(log_last, 'UTC')) AS last_at,
       if(close_by > 0, toString(fromUnixTimestamp64Milli(close_by, 'UTC')), '') AS closes_at
FROM groups FINAL WHERE project = {project:String} AND group_id = {group:String}
ORDER BY (toString(rule), toString(credit)) IN (
    SELECT toString(rule), toString(credit) FROM current_groups
    WHERE project = {project:String} AND group_id = {group:String}
) DESC, groups.log_last DESC, rule, credit LIMIT 20
