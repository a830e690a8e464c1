-- Records that went to a dead-letter topic:
SELECT topic, reason, count() AS records, any(message) AS example
FROM dead_letters FINAL GROUP BY topic, reason
