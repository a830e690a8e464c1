-- Episodes that ended badly, and why:
SELECT rollout_id, status, closed_by, complete, signals FROM episodes FINAL
WHERE state = 'closed' AND (status = 'error' OR NOT complete) ORDER BY log_last DESC LIMIT 20
