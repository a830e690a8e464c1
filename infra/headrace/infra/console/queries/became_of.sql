SELECT outcome, reason, count() AS samples, sum(tokens) AS tokens, round(avg(staleness), 2) AS staleness
FROM outcomes FINAL
WHERE policy = {policy:String} AND version_max = {version:Int32} AND sample_id != ''
GROUP BY outcome, reason ORDER BY samples DESC
