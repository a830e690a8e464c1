-- One row per token that a model sampled: its text, the log-probability and version it was sampled
-- at, the advantage of its call, its weight in it, and what the trainer saw of it (of a share of the
-- samples: `[trainer] annotate`). Ask it by call or episode. Joined by `unhex`, `bytes_hex` is the
-- text of the completion.
SELECT call_id, position, text, round(logprob, 3) AS logprob, version,
       round(advantage * weight, 3) AS advantage, round(gap, 4) AS gap,
       round(entropy, 3) AS entropy, masked
FROM tokens WHERE rollout_id = (SELECT max(rollout_id) FROM spans WHERE kind = 'call')
ORDER BY call_id, position LIMIT 200
