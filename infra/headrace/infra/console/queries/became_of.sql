SELECT outcome, reason, count() AS samples, sum(tokens) AS tokens, round(avg(staleness), 2) AS staleness
FROM decisions
WHERE policy = {policy:String} AND version_max = {version:Int32} AND sample_id != ''
GROUP BY outcome, reason ORDER BY samples DESC
