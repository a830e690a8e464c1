SELECT policy, split, outcome_a, outcome_b, count() AS episodes, uniqExact(project, group_id) AS groups,
       countIf(sign_flip) AS sign_flips, round(avg(reward_b - reward_a), 4) AS change
FROM compare_rules(rule_a = {rule_a:String}, credit_a = {credit_a:String},
                   rule_b = {rule_b:String}, credit_b = {credit_b:String})
WHERE {policy:String} = '' OR policy = {policy:String}
GROUP BY policy, split, outcome_a, outcome_b
ORDER BY policy, split DESC, outcome_a = outcome_b, episodes DESC, outcome_a, outcome_b
