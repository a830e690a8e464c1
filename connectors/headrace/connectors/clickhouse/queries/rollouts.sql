-- One row per rollout that was asked for or seen: where it is and why it does not move on. `state`
-- is `asked`, `running`, `waiting` (for its group), `credited` (waits for the trainer), `trained`,
-- `dropped` or `evaluated`. Facts are those of the attempt that its group used, else of the last
-- one.
SELECT rollout_id, split, state, reason, attempts, status, version_min AS version, calls,
       round(reward, 3) AS reward, round(advantage, 3) AS advantage, asked_at, ended_at
FROM rollouts ORDER BY rollout_id DESC LIMIT 20
