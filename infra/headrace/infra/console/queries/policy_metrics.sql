SELECT version, metric, value FROM policy_metrics
WHERE policy = {policy:String} ORDER BY metric, version LIMIT 20000
