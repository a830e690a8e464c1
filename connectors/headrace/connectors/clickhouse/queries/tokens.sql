-- One row per token that a model sampled, with the log-probability and version it was sampled at,
-- and the advantage of its call. Ask it by call or episode.
SELECT call_id, position, token_id, round(logprob, 3) AS logprob, version,
       round(advantage, 3) AS advantage
FROM tokens WHERE rollout_id = (SELECT max(rollout_id) FROM episodes)
ORDER BY call_id, position LIMIT 200
