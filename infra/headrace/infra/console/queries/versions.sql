SELECT policy, version, parent, length(groups) AS groups, samples,
       substring(weights_hash, 1, 12) AS weights
FROM policies FINAL ORDER BY policy, version DESC LIMIT 20
