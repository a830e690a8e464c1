-- Errors and other signals by version: in how many of its closed episodes, and how often.
SELECT version, signal, episodes, count, round(share, 3) AS share
FROM signals_by_policy WHERE split = 'train' AND count > 0 ORDER BY policy, version, signal
