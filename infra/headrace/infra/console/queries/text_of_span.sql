SELECT kind, name, substringUTF8(whole, {begin:UInt32} + 1, {most:UInt32}) AS text,
       lengthUTF8(whole) AS characters
FROM (
    SELECT kind, name, if({part:String} = 'input', input, output) AS whole FROM spans FINAL
    WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
      AND span_id = {span:String}
)
