-- How old the newest record of each stage and partition is, by ClickHouse's clock.
SELECT stage, table, partition, newest_at, age_ms FROM freshness ORDER BY stage, table, partition
