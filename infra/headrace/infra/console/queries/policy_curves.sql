SELECT policy, split, version, episodes, round(reward, 4) AS reward, round(low, 4) AS low,
       round(high, 4) AS high
FROM reward_by_policy WHERE policy = {policy:String} ORDER BY split DESC, version
