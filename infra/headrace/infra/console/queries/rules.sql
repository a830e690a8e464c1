SELECT policy, rule, credit, came_by, count() AS groups, countIf(outcome = 'train') AS teach,
       round(avg(mean), 4) AS mean, round(avg(std), 4) AS deviation,
       toString(fromUnixTimestamp64Milli(max(log_last), 'UTC')) AS newest
FROM (
    SELECT policy, rule, credit, 'live' AS came_by, outcome, mean, std, log_last, state
    FROM groups FINAL
    UNION ALL
    SELECT policy, rule, credit, 'replay', outcome, mean, std, log_last, state FROM replays FINAL
)
WHERE state = 'final' AND ({policy:String} = '' OR policy = {policy:String})
GROUP BY policy, rule, credit, came_by ORDER BY policy, came_by, newest DESC, rule, credit
