-- Calls and tool executions as (state, action, reward, next state), of the thousand episodes that
-- moved last; [transitions.md](transitions.md) says what the columns are.
SELECT agent, kind, count() AS transitions, countIf(terminal) AS last_ones, avg(reward) AS reward
FROM transitions
WHERE rollout_id IN (SELECT rollout_id FROM episodes ORDER BY log_last DESC LIMIT 1000)
GROUP BY agent, kind ORDER BY agent, kind
