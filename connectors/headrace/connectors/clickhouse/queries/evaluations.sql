-- One row per evaluated rollout: a task of the split `eval`, asked of a version. Equal tasks have
-- one `task_key`.
SELECT version, count() AS tasks, round(avg(reward), 3) AS reward,
       avg(completion_tokens) AS tokens, avg(milliseconds) AS milliseconds
FROM evaluations GROUP BY policy, version ORDER BY policy, version
