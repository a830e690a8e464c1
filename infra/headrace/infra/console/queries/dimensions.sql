SELECT project, policy, split, origin, name, version, episodes, round(mean, 4) AS mean,
       round(deviation, 4) AS deviation, round(low, 4) AS low, round(high, 4) AS high
FROM reward_dimensions WHERE {policy:String} = '' OR policy = {policy:String}
ORDER BY project, policy, split DESC, indexOf(['rule', 'dimension', 'span'], origin), name, version
LIMIT 5000
