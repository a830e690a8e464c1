SELECT policy, version, parent, trainer, uri, base_model, reference, weights_hash, content_hash,
       config_hash, base_hash, length(groups) AS groups, samples, metrics,
       arrayMap(o -> concat(o.topic, '/', toString(o.partition), ' at ', toString(o.offset)), offsets)
           AS offsets,
       toString(fromUnixTimestamp64Milli(created_at, 'UTC')) AS created
FROM policies FINAL WHERE policy = {policy:String} AND version = {version:Int32}
