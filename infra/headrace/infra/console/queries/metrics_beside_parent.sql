WITH both AS (SELECT version, parent, metrics FROM policies FINAL WHERE policy = {policy:String}),
     own AS (SELECT parent, metrics FROM both WHERE version = {version:Int32})
SELECT metric, own.metrics[metric] AS value,
       if(mapContains(before.metrics, metric), before.metrics[metric], NULL) AS parent_value,
       value - parent_value AS change
FROM own LEFT JOIN both AS before ON before.version = own.parent
ARRAY JOIN mapKeys(own.metrics) AS metric
ORDER BY metric
