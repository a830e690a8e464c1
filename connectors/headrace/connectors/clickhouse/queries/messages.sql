-- One row per message of a call, its answer last. `is_new` leaves out what stood in the same place
-- in the same agent's call before: the rows of an episode that are new read as its transcript.
SELECT call_id, position, role, content, tool_calls
FROM messages WHERE is_new AND rollout_id = (SELECT max(rollout_id) FROM spans WHERE kind = 'call')
ORDER BY called_at, call_id, position
