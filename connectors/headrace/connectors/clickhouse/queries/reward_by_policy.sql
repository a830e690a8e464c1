-- Mean reward of the episodes of each policy version, with its 95 % interval. An episode counts
-- for the oldest version among its tokens. Counted are closed groups under the current rule, and
-- of a rollout tried more than once the attempt that was used.
SELECT version, episodes, round(reward, 3) AS reward, round(low, 3) AS low, round(high, 3) AS high
FROM reward_by_policy WHERE split = 'train' ORDER BY policy, version
