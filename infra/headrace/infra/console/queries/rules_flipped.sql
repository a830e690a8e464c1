SELECT project, policy, group_id, rollout_id, attempt, toBool(sign_flip) AS sign_flip, round(reward_a, 4) AS reward_a,
       round(reward_b, 4) AS reward_b, round(advantage_a, 4) AS advantage_a,
       round(advantage_b, 4) AS advantage_b, outcome_a, outcome_b
FROM compare_rules(rule_a = {rule_a:String}, credit_a = {credit_a:String},
                   rule_b = {rule_b:String}, credit_b = {credit_b:String})
WHERE {policy:String} = '' OR policy = {policy:String}
ORDER BY sign_flip DESC, abs(compare_rules.advantage_b - compare_rules.advantage_a) DESC, rollout_id, attempt
LIMIT {limit:UInt32}
