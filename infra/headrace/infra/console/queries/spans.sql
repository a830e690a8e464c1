SELECT span_id, parent_id, kind, name, agent, status, started_at, ended_at,
       if(ended_at > started_at, round((ended_at - started_at) / 1e6, 1), NULL) AS milliseconds,
       trainable, untrainable_reason, finish_reason, has_content, partition, offset, response_id,
       arrayMap(m -> tuple(
           JSONExtractString(m, 'role'),
           if(JSONType(m, 'content') = 'String', substringUTF8(JSONExtractString(m, 'content'), 1, 4000),
              substringUTF8(m, 1, 4000)),
           if(JSONType(m, 'content') = 'String', lengthUTF8(JSONExtractString(m, 'content')),
              lengthUTF8(m))
       ), if(kind = 'call' AND length(x.input) < 4000000,
             arraySlice(JSONExtractArrayRaw(x.input), 1, 400), [])) AS messages,
       if(empty(messages), 0, length(JSONExtractArrayRaw(x.input))) AS message_count,
       substringUTF8(x.input, 1, if(notEmpty(messages), 0, 4000)) AS input,
       lengthUTF8(x.input) AS input_characters,
       substringUTF8(x.output, 1, 4000) AS output, lengthUTF8(x.output) AS output_characters,
       reward_name, reward_value, reward_source,
       length(prompt_ids) + prompt_base_length AS prompt_tokens, length(sampled_ids) AS sampled
FROM spans AS x FINAL
WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
ORDER BY if(kind = 'attempt.end', ended_at, started_at), offset, span_id
LIMIT {limit:UInt32} OFFSET {begin:UInt32}
