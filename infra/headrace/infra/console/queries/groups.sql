SELECT toString(fromUnixTimestamp64Milli(log_last, 'UTC')) AS newest, project, group_id, outcome,
       state, policy, split, length(members) AS seen, group_size AS wanted,
       arrayMin(arrayFilter(v -> v >= 0, members.version_min)) AS version_min,
       arrayMax(members.version_max) AS version_max,
       round(mean, 4) AS mean, round(std, 4) AS std,
       arraySlice(arrayMap(m -> round(m.reward, 4), members), 1, 512) AS rewards, log_last
FROM current_groups
WHERE ({policy:String} = '' OR policy = {policy:String})
  AND ({split:String} = '' OR split = {split:String})
  AND ({state:String} = '' OR state = {state:String})
  AND ({outcome:String} = '' OR outcome = {outcome:String})
  AND (log_last, group_id) < ({at:Int64}, {group:String})
ORDER BY log_last DESC, group_id DESC
LIMIT {limit:UInt32}
