-- How long calls and tools took by the version of the episode, in milliseconds of the agent's
-- clock.
SELECT version, kind, name, calls, errors, round(p50, 1) AS p50, round(p90, 1) AS p90,
       round(p99, 1) AS p99
FROM latency_by_policy WHERE split = 'train' ORDER BY policy, version, kind, name
