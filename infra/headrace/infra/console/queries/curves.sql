SELECT project, policy, split, version, episodes, round(reward, 4) AS reward,
       round(low, 4) AS low, round(high, 4) AS high
FROM reward_by_policy ORDER BY project, policy, split, version
