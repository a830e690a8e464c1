-- Calls and tool executions as (state, action, reward, next state);
-- [transitions.md](transitions.md) says what the columns are.
SELECT agent, kind, count() AS transitions, countIf(terminal) AS last_ones, avg(reward) AS reward
FROM transitions GROUP BY agent, kind ORDER BY agent, kind
