WITH RECURSIVE chain AS (
    SELECT version, parent, 0 AS back FROM policies FINAL
    WHERE policy = {policy:String} AND version = {version:Int32}
    UNION ALL
    SELECT p.version, p.parent, chain.back + 1 AS back
    FROM (SELECT version, parent FROM policies FINAL WHERE policy = {policy:String}) AS p
    INNER JOIN chain ON p.version = chain.parent
    WHERE chain.back < 30 AND p.version < chain.version
)
SELECT {policy:String} AS policy, p.version AS version, p.parent AS parent, length(p.groups) AS groups,
       p.samples AS samples,
       if(mapContains(p.metrics, 'reward'), round(p.metrics['reward'], 4), NULL) AS reward,
       substring(p.weights_hash, 1, 12) AS weights,
       toString(fromUnixTimestamp64Milli(p.created_at, 'UTC')) AS created
FROM chain INNER JOIN (SELECT * FROM policies FINAL WHERE policy = {policy:String}) AS p
    ON p.version = chain.version
ORDER BY chain.back
