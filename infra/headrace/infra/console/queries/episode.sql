SELECT project, rollout_id, attempt, group_id, policy, split, state, status, closed_by, complete,
       missing_batches, version, n_spans AS spans, calls, tools, prompt_tokens, completion_tokens,
       version_min, version_max, signals, log_last, substringUTF8(x.task_input, 1, 2000) AS task,
       lengthUTF8(x.task_input) AS task_characters,
       substringUTF8(x.expected, 1, 2000) AS expected,
       substringUTF8(x.result, 1, 2000) AS result,
       lengthUTF8(x.expected) AS expected_characters, lengthUTF8(x.result) AS result_characters,
       toString(fromUnixTimestamp64Milli(log_first, 'UTC')) AS first_at,
       toString(fromUnixTimestamp64Milli(log_last, 'UTC')) AS last_at
FROM episodes AS x FINAL
WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
