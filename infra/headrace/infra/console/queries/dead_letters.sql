SELECT topic, reason, count() AS records FROM dead_letters FINAL
GROUP BY topic, reason ORDER BY topic, reason
