-- Lineage, backwards from a version to the log: which groups it trained on, and where its trainer
-- stood.
SELECT version, parent, length(groups) AS groups, samples, round(metrics['reward'], 3) AS reward,
       round(metrics['logp_gap'], 4) AS logp_gap, substring(weights_hash, 1, 12) AS weights
FROM policies FINAL ORDER BY policy, version
