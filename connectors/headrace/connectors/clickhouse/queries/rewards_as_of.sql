-- The rewards that spans had given by the time a version was committed: what was known then. Later
-- ones are not in it.
-- param policy String = assistant
-- param version Int32 = 1
SELECT name, source, count() AS rewards, avg(value) AS mean
FROM rewards_as_of(policy = {policy:String}, version = {version:Int32})
GROUP BY name, source ORDER BY name, source
