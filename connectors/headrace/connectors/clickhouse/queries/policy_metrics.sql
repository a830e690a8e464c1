-- Every metric of every version, one a row: for charts.
SELECT version, metric, round(value, 5) AS value FROM policy_metrics
WHERE metric IN ('loss', 'entropy', 'kl_k3', 'grad_norm') ORDER BY policy, metric, version
