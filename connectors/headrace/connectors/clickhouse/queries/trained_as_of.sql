-- The same rows of a version and all its ancestors: everything that its weights have learned from.
-- param policy String = assistant
-- param version Int32 = 1
SELECT version, count() AS samples, uniqExact(rollout_id) AS rollouts, sum(tokens) AS tokens
FROM trained_as_of(policy = {policy:String}, version = {version:Int32})
GROUP BY version ORDER BY version
