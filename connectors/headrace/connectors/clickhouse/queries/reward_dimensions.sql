-- The same by name: of the rule (`origin` `rule`), of the dimensions that the rule weighed
-- (`dimension`), and of what spans gave an episode (`span`; of each name the last one).
SELECT version, origin, name, episodes, round(mean, 3) AS mean, round(low, 3) AS low,
       round(high, 3) AS high
FROM reward_dimensions WHERE split = 'train' ORDER BY policy, origin, name, version
