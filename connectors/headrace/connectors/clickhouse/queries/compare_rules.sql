-- One row per episode that two pairs of rule and method credited, live or by `headrace replay`:
-- both rewards and advantages, and whether the advantage changed its sign.
-- param rule_a String = reward-span:reward@1
-- param credit_a String = uniform/grpo/uniform@1
-- param rule_b String = reward-span:reward@2
-- param credit_b String = uniform/grpo/uniform@1
SELECT outcome_a, outcome_b, count() AS episodes, countIf(sign_flip) AS sign_flips,
       avg(reward_b - reward_a) AS change
FROM compare_rules(rule_a = {rule_a:String}, credit_a = {credit_a:String},
                   rule_b = {rule_b:String}, credit_b = {credit_b:String})
GROUP BY outcome_a, outcome_b ORDER BY outcome_a, outcome_b
