SELECT toString(fromUnixTimestamp64Milli(log_time, 'UTC')) AS newest, stage, consumer_group, topic,
       partition, first_offset, last_offset, reason, substringUTF8(detail, 1, 400) AS detail
FROM drops FINAL ORDER BY log_time DESC LIMIT 100
