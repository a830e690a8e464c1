-- What credit is told from beyond one reward an episode: the named dimensions of which a reward was
-- weighed, what was aimed at a call, and a group of one's place in the running mean of its partition
-- and policy (`count` 0: none).
ALTER TABLE groups MODIFY COLUMN IF EXISTS members Array(Tuple(
    rollout_id String, attempt String, episode_version UInt64, status String,
    reward Nullable(Float64), reward_reason String, reward_detail String,
    dimensions Array(Tuple(name String, value Float64)), advantage Float64,
    calls UInt32, log_time Int64, complete Bool, closed_status String,
    version_min Int32, version_max Int32)) SETTINGS alter_sync = 1;

ALTER TABLE groups MODIFY COLUMN IF EXISTS samples Array(Tuple(
    sample_id String, rollout_id String, attempt String, agent String, advantage Float64,
    trainable Bool, reason String, call_reason String, version_min Int32, version_max Int32,
    tokens UInt32, reward Nullable(Float64), observed String)) SETTINGS alter_sync = 1;

ALTER TABLE groups ADD COLUMN IF NOT EXISTS running
    Tuple(policy String, count UInt64, before Float64, after Float64);

CREATE OR REPLACE VIEW rewards AS
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
FROM (SELECT project, rule, arrayJoin(members) AS m FROM groups FINAL)
UNION ALL
SELECT
    project, m.rollout_id AS rollout_id, m.attempt AS attempt, '' AS span_id, d.name AS name,
    d.value AS value, rule AS source, '' AS target, 'dimension' AS origin,
    fromUnixTimestamp64Milli(m.log_time) AS logged_at
FROM (
    SELECT project, rule, m, arrayJoin(m.dimensions) AS d
    FROM (SELECT project, rule, arrayJoin(members) AS m FROM groups FINAL)
);

CREATE OR REPLACE VIEW samples AS
SELECT
    project, group_id, rule, credit, policy, split, outcome AS group_outcome,
    s.sample_id AS sample_id, s.rollout_id AS rollout_id, s.attempt AS attempt, s.agent AS agent,
    s.advantage AS advantage, s.trainable AS trainable, s.reason AS reason,
    s.version_min AS version_min, s.version_max AS version_max, s.tokens AS tokens,
    s.reward AS reward
FROM (SELECT *, arrayJoin(samples) AS s FROM groups FINAL);
