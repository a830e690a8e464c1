SELECT policy, version, parent, length(groups) AS groups, samples,
       toString(fromUnixTimestamp64Milli(created_at, 'UTC')) AS created,
       if(mapContains(metrics, 'reward'), round(metrics['reward'], 4), NULL) AS reward,
       if(mapContains(metrics, 'logp_gap'), round(metrics['logp_gap'], 5), NULL) AS logp_gap,
       if(mapContains(metrics, 'ess'), round(metrics['ess'], 4), NULL) AS ess,
       if(mapContains(metrics, 'entropy'), round(metrics['entropy'], 4), NULL) AS entropy,
       if(mapContains(metrics, 'seconds'), round(metrics['seconds'], 2), NULL) AS seconds,
       substring(weights_hash, 1, 12) AS weights
FROM policies FINAL
WHERE ({policy:String} = '' OR policy = {policy:String})
ORDER BY created_at DESC, policy, version DESC LIMIT {limit:UInt32}
