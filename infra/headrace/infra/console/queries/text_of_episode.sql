SELECT 'episode' AS kind, '' AS name, substringUTF8(whole, {begin:UInt32} + 1, {most:UInt32}) AS text,
       lengthUTF8(whole) AS characters
FROM (
    SELECT multiIf({part:String} = 'task', task_input, {part:String} = 'expected', expected, result) AS whole
    FROM episodes FINAL
    WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
)
