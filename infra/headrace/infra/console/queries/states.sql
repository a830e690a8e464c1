SELECT project, policy, split, count() AS episodes, countIf(state = 'open') AS open,
       countIf(status = 'error') AS errors, countIf(state = 'closed' AND NOT complete) AS incomplete,
       countIf(status = 'error' OR (state = 'closed' AND NOT complete)) AS failed_or_incomplete,
       sum(calls) AS calls, sum(prompt_tokens + completion_tokens) AS tokens,
       toString(fromUnixTimestamp64Milli(max(log_last), 'UTC')) AS newest
FROM episodes FINAL GROUP BY project, policy, split ORDER BY project, policy, split DESC
