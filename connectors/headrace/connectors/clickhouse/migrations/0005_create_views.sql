-- What users ask for, in their words. Each is documented with an example in docs/sql.md.
CREATE VIEW IF NOT EXISTS calls AS
SELECT
    project, rollout_id, attempt, span_id,
    concat(rollout_id, '/', attempt, '/', span_id) AS call_id,
    agent, name, model, policy, response_id, status,
    arrayMin(run_versions) AS version_min, arrayMax(run_versions) AS version_max,
    run_versions, run_lengths, temperature, finish_reason, trainable, untrainable_reason,
    length(prompt_ids) AS prompt_tokens, length(sampled_ids) AS completion_tokens,
    arraySum(logprobs) AS logprob, input, output,
    fromUnixTimestamp64Milli(log_time) AS logged_at,
    (ended_at - started_at) / 1e6 AS milliseconds
FROM spans FINAL WHERE kind = 'call';

CREATE VIEW IF NOT EXISTS rewards AS
SELECT
    project, rollout_id, attempt, span_id, reward_name AS name, reward_value AS value,
    reward_source AS source, reward_target AS target, 'span' AS origin,
    fromUnixTimestamp64Milli(log_time) AS logged_at
FROM spans FINAL WHERE kind = 'reward'
UNION ALL
SELECT
    project, m.rollout_id AS rollout_id, m.attempt AS attempt, '' AS span_id, rule AS name,
    m.reward AS value, 'rule' AS source, '' AS target, 'rule' AS origin,
    fromUnixTimestamp64Milli(m.log_time) AS logged_at
FROM (SELECT project, rule, arrayJoin(members) AS m FROM groups FINAL);

CREATE VIEW IF NOT EXISTS credits AS
SELECT
    project, group_id, rule, credit, version, policy, split, outcome, baseline, mean, std,
    m.rollout_id AS rollout_id, m.attempt AS attempt, m.status AS status, m.reward AS reward,
    m.advantage AS advantage, m.calls AS calls
FROM (SELECT *, arrayJoin(members) AS m FROM groups FINAL WHERE state = 'final');

CREATE VIEW IF NOT EXISTS samples AS
SELECT
    project, group_id, rule, credit, policy, split, outcome AS group_outcome,
    s.sample_id AS sample_id, s.rollout_id AS rollout_id, s.attempt AS attempt, s.agent AS agent,
    s.advantage AS advantage, s.trainable AS trainable, s.reason AS reason,
    s.version_min AS version_min, s.version_max AS version_max, s.tokens AS tokens
FROM (SELECT *, arrayJoin(samples) AS s FROM groups FINAL);

CREATE VIEW IF NOT EXISTS reward_by_policy AS
SELECT
    project, policy, split, version, count() AS episodes, avg(value) AS reward,
    stddevSamp(value) AS deviation,
    avg(value) - 1.96 * stddevSamp(value) / sqrt(count()) AS low,
    avg(value) + 1.96 * stddevSamp(value) / sqrt(count()) AS high
FROM (
    SELECT project, policy, split, m.version_min AS version, m.reward AS value
    FROM (SELECT project, policy, split, arrayJoin(members) AS m FROM groups FINAL)
    WHERE m.reward IS NOT NULL AND m.version_min >= 0
)
GROUP BY project, policy, split, version;

CREATE VIEW IF NOT EXISTS staleness AS
SELECT project, policy, staleness, count() AS samples
FROM outcomes FINAL WHERE outcome = 'trained' GROUP BY project, policy, staleness;

-- Of the trainer that makes the policy's versions; a shadow trainer's outcomes are beside it.
CREATE VIEW IF NOT EXISTS drop_ledger AS
SELECT
    s.project AS project, s.policy AS policy, s.split AS split,
    multiIf(o.outcome = '', 'pending', o.outcome) AS state,
    multiIf(o.outcome = 'dropped', o.reason, '') AS reason, count() AS samples
FROM (SELECT project, policy, split, sample_id FROM samples) AS s
LEFT JOIN (
    SELECT t.project AS project, t.sample_id AS sample_id, t.outcome AS outcome, t.reason AS reason
    FROM (
        SELECT * FROM outcomes FINAL
        WHERE sample_id != '' AND outcome IN ('trained', 'dropped')
    ) AS t
    INNER JOIN (
        SELECT policy, argMax(trainer, version) AS trainer FROM policies FINAL GROUP BY policy
    ) AS p ON p.policy = t.policy AND p.trainer = t.trainer
) AS o ON o.project = s.project AND o.sample_id = s.sample_id
GROUP BY project, policy, split, state, reason;
