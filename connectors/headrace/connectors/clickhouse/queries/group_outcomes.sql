-- How groups were credited, by the oldest version among their episodes: what share of them taught
-- something, and how far their rewards lay apart.
SELECT version, outcome, groups, round(share, 3) AS share, round(mean_std, 3) AS mean_std
FROM group_outcomes WHERE split = 'train' ORDER BY policy, version, outcome
