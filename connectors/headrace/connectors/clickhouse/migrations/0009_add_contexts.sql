-- Of the gateway's calls that a framework had spans of its own for: the agent and the parent that
-- these gave them. The view `calls` says what the episode says, which is what is trained.
ALTER TABLE episodes ADD COLUMN IF NOT EXISTS contexts
    Array(Tuple(span_id String, agent String, parent_id String)) AFTER signals;

CREATE OR REPLACE VIEW calls AS
SELECT
    s.project AS project, s.rollout_id AS rollout_id, s.attempt AS attempt, s.span_id AS span_id,
    concat(s.rollout_id, '/', s.attempt, '/', s.span_id) AS call_id,
    if(c.span_id = '', s.agent, c.agent) AS agent, s.name AS name, s.model AS model,
    s.policy AS policy, s.response_id AS response_id, s.status AS status,
    arrayMin(s.run_versions) AS version_min, arrayMax(s.run_versions) AS version_max,
    s.run_versions AS run_versions, s.run_lengths AS run_lengths, s.temperature AS temperature,
    s.finish_reason AS finish_reason, s.trainable AS trainable,
    s.untrainable_reason AS untrainable_reason,
    length(s.prompt_ids) AS prompt_tokens, length(s.sampled_ids) AS completion_tokens,
    arraySum(s.logprobs) AS logprob, s.input AS input, s.output AS output,
    fromUnixTimestamp64Milli(s.log_time) AS logged_at,
    (s.ended_at - s.started_at) / 1e6 AS milliseconds,
    if(c.span_id = '', s.parent_id, c.parent_id) AS parent_id
FROM (SELECT * FROM spans FINAL WHERE kind = 'call') AS s
LEFT JOIN (
    SELECT project, rollout_id, attempt, told.span_id AS span_id, told.agent AS agent,
        told.parent_id AS parent_id
    FROM (
        SELECT project, rollout_id, attempt, arrayJoin(contexts) AS told
        FROM (SELECT * FROM episodes FINAL WHERE notEmpty(contexts))
    )
) AS c ON c.project = s.project AND c.rollout_id = s.rollout_id AND c.attempt = s.attempt
    AND c.span_id = s.span_id
SETTINGS join_use_nulls = 0;
