SELECT policy, rule, credit, count() AS groups, countIf(outcome = 'train') AS teach,
       round(avg(mean), 4) AS mean, round(avg(std), 4) AS deviation,
       toString(fromUnixTimestamp64Milli(max(log_last), 'UTC')) AS newest
FROM groups FINAL WHERE state = 'final' AND ({policy:String} = '' OR policy = {policy:String})
GROUP BY policy, rule, credit ORDER BY policy, newest DESC
