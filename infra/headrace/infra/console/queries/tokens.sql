SELECT span_id, groupArray((token_id, bytes_hex, logprob, version, advantage * weight, trainer_logprob,
                            gap, entropy, masked)) AS tokens
FROM (
    SELECT span_id, token_id, bytes_hex, logprob, version, advantage, weight, trainer_logprob, gap,
           entropy, masked
    FROM tokens
    WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
      AND span_id IN {calls:Array(String)} AND position <= {most:UInt32}
    ORDER BY span_id, position
)
GROUP BY span_id ORDER BY span_id
