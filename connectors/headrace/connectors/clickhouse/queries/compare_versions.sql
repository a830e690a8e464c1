-- One row per task that both versions were asked, with both rewards and where to read both
-- answers. Of a task asked more than once the newest answer counts.
-- param policy String = assistant
-- param a Int32 = 0
-- param b Int32 = 1
SELECT task_input, expected, reward_a, reward_b, verdict, rollout_a, rollout_b
FROM compare_versions(policy = {policy:String}, a = {a:Int32}, b = {b:Int32})
ORDER BY verdict = 'same', verdict, task_input
