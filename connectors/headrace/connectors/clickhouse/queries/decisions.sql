-- What became of each sample, or of a rollout without one: `outcomes` of the trainer that makes
-- the policy's versions. A shadow trainer's are in `outcomes` alone.
SELECT policy, outcome, reason, count() AS samples, sum(tokens) AS tokens
FROM decisions GROUP BY policy, outcome, reason ORDER BY policy, outcome, reason
