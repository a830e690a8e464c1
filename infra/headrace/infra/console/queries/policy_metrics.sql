SELECT version, metric, value
FROM (SELECT version, arrayJoin(arrayZip(mapKeys(metrics), mapValues(metrics))) AS pair,
             pair.1 AS metric, pair.2 AS value
      FROM policies FINAL WHERE policy = {policy:String})
ORDER BY metric, version LIMIT 20000
