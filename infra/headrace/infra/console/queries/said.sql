SELECT kind, name, agent, substringUTF8(x.output, 1, 1500) AS output,
       lengthUTF8(x.output) AS output_characters,
       if(kind = 'tool', substringUTF8(x.input, 1, 500), '') AS input,
       if(kind = 'tool', lengthUTF8(x.input), 0) AS input_characters, count() OVER () AS spans
FROM spans AS x FINAL
WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
  AND kind IN ('call', 'tool')
ORDER BY started_at, offset, span_id LIMIT 40
