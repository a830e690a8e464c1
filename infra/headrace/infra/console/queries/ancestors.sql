WITH (
    SELECT CAST((groupArray(version), groupArray(parent)), 'Map(Int32, Int32)')
    FROM policies FINAL WHERE policy = {policy:String}
) AS parents,
arrayFold(
    (chain, step) -> if(
        mapContains(parents, parents[chain[-1]]) AND parents[chain[-1]] < chain[-1],
        arrayPushBack(chain, parents[chain[-1]]), chain),
    range(30), [{version:Int32}]
) AS chain
SELECT policy, version, parent, length(groups) AS groups, samples,
       if(mapContains(metrics, 'reward'), round(metrics['reward'], 4), NULL) AS reward,
       substring(weights_hash, 1, 12) AS weights,
       toString(fromUnixTimestamp64Milli(created_at, 'UTC')) AS created
FROM policies FINAL
WHERE policy = {policy:String} AND has(chain, version)
ORDER BY version DESC
