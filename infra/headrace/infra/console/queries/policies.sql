SELECT policy, max(v) AS version, count() AS versions, sum(samples) AS samples,
       argMax(trainer, v) AS trainer, argMax(base_model, v) AS base_model,
       toString(fromUnixTimestamp64Milli(max(created_at), 'UTC')) AS created
FROM (SELECT policy, version AS v, samples, trainer, base_model, created_at FROM policies FINAL)
GROUP BY policy ORDER BY policy
