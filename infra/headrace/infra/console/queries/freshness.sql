SELECT place, toString(fromUnixTimestamp64Milli(last, 'UTC')) AS newest,
       round((toUnixTimestamp64Milli(now64(3)) - last) / 1000, 1) AS seconds_ago, rows
FROM (
    SELECT 'spans' AS place, max(log_time) AS last, count() AS rows FROM spans
    UNION ALL SELECT 'episodes', max(log_last), count() FROM episodes
    UNION ALL SELECT 'groups', max(log_last), count() FROM groups
    UNION ALL SELECT 'outcomes', max(log_time), count() FROM outcomes
    UNION ALL SELECT 'policies', max(log_time), count() FROM policies
    UNION ALL SELECT 'tasks', max(log_time), count() FROM tasks
)
WHERE rows > 0 ORDER BY last DESC
