SELECT project, rollout_id, attempt, policy, split, state, status, complete, calls, tools,
       prompt_tokens, completion_tokens, version_min, version_max, log_last,
       toString(fromUnixTimestamp64Milli(log_last, 'UTC')) AS newest,
       substringUTF8(task_input, 1, 120) AS task, lengthUTF8(task_input) AS task_characters
FROM episodes FINAL
WHERE ({policy:String} = '' OR policy = {policy:String})
  AND ({split:String} = '' OR split = {split:String})
  AND ({state:String} = '' OR state = {state:String})
  AND ({status:String} = '' OR status = {status:String})
  AND (log_last, rollout_id, attempt) < ({at:Int64}, {rollout:String}, {attempt:String})
ORDER BY log_last DESC, rollout_id DESC, attempt DESC
LIMIT {limit:UInt32}
