-- Calls and tool executions as (state, action, reward, next state), of the thousand episodes that
-- moved last; [transitions.md](transitions.md) says what the columns are.
SELECT agent, kind, count() AS transitions, countIf(terminal) AS last_ones, avg(reward) AS reward
FROM transitions
WHERE (project, rollout_id, attempt) IN (
    SELECT project, rollout_id, attempt FROM episodes FINAL ORDER BY log_last DESC LIMIT 1000
)
GROUP BY agent, kind ORDER BY agent, kind
