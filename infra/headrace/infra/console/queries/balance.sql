SELECT policy, split, state, count() AS rollouts
FROM (
    SELECT t.policy AS policy, t.split AS split,
           multiIf(o.trained > 0, 'trained', o.dropped > 0, 'dropped',
                   c.decided > 0 AND t.split = 'eval', 'evaluated', c.decided > 0, 'credited',
                   e.closed > 0, 'waiting', e.seen > 0, 'running', 'asked') AS state
    FROM (SELECT project, rollout_id, policy, split FROM tasks FINAL) AS t
    LEFT JOIN (
        SELECT project, rollout_id, count() AS seen, countIf(state = 'closed') AS closed
        FROM episodes FINAL GROUP BY project, rollout_id
    ) AS e ON e.project = t.project AND e.rollout_id = t.rollout_id
    LEFT JOIN (SELECT project, rollout_id, count() AS decided FROM credits GROUP BY project, rollout_id)
        AS c ON c.project = t.project AND c.rollout_id = t.rollout_id
    LEFT JOIN (
        SELECT project, rollout_id, countIf(outcome = 'trained') AS trained,
               countIf(outcome = 'dropped') AS dropped
        FROM outcomes FINAL GROUP BY project, rollout_id
    ) AS o ON o.project = t.project AND o.rollout_id = t.rollout_id
)
GROUP BY policy, split, state
ORDER BY policy, split DESC,
    indexOf(['asked', 'running', 'waiting', 'credited', 'trained', 'dropped', 'evaluated'], state)
