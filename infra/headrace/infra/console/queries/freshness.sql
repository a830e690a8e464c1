SELECT stage, table, toString(max(newest_at)) AS newest,
       round(min(age_ms) / 1000, 1) AS seconds_ago, count() AS partitions
FROM freshness GROUP BY stage, table ORDER BY newest DESC, table
