SELECT toString(fromUnixTimestamp64Milli(log_time, 'UTC')) AS newest, topic, partition, offset, stage,
       reason, substringUTF8(message, 1, 400) AS message, size
FROM dead_letters FINAL ORDER BY log_time DESC, topic, partition, offset LIMIT 100
