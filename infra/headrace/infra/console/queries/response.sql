SELECT project, rollout_id, attempt, span_id FROM spans FINAL
WHERE kind = 'call' AND response_id = {response:String}
ORDER BY log_time DESC, span_id LIMIT 1
