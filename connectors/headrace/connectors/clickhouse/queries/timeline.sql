-- One row per span of an episode: what was done, from when to when by the agent's clock, and where
-- it stands in the log. Texts are previews of 200 characters; whole they are in `spans`.
SELECT rollout_id, attempt, from_ms, milliseconds, kind, name, agent, status,
       prompt_tokens, completion_tokens, input_preview, output_preview
FROM timeline WHERE rollout_id = (SELECT max(rollout_id) FROM spans WHERE kind = 'call')
ORDER BY attempt, started_at, span_id
