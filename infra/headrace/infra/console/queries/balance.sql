SELECT policy, split, state, count() AS rollouts
FROM rollouts WHERE asked_at IS NOT NULL
GROUP BY policy, split, state
ORDER BY policy, split DESC,
    indexOf(['asked', 'running', 'waiting', 'credited', 'trained', 'dropped', 'evaluated'], state)
