-- One row holds a group's members, rewards and credit under one rule and one credit method:
-- several tables could be left half written. row_version = 2·version + final, highest wins.
-- It is the credit stage's only memory: `members` is in the order in which they became complete,
-- and everything that the credit is computed from is here.
CREATE TABLE IF NOT EXISTS groups (
    project LowCardinality(String),
    group_id String,
    rule LowCardinality(String),
    credit LowCardinality(String),
    row_version UInt64,
    version UInt64 COMMENT 'sum of the versions of the members',
    state LowCardinality(String) COMMENT 'open or final',
    partition UInt32,
    group_size UInt32,
    group_rollouts Array(String),
    policy LowCardinality(String),
    split LowCardinality(String),
    deadline Int64 COMMENT 'latest deadline of its members; 0: none',
    close_by Int64 COMMENT 'log time, milliseconds, at which an open group is to be closed',
    log_first Int64,
    log_last Int64,
    outcome LowCardinality(String),
    baseline LowCardinality(String),
    mean Float64,
    std Float64,
    members Array(Tuple(
        rollout_id String, attempt String, episode_version UInt64, status String,
        reward Nullable(Float64), reward_reason String, advantage Float64, calls UInt32,
        log_time Int64, complete Bool, closed_status String,
        version_min Int32, version_max Int32)),
    samples Array(Tuple(
        sample_id String, rollout_id String, attempt String, agent String, advantage Float64,
        trainable Bool, reason String, call_reason String, version_min Int32, version_max Int32,
        tokens UInt32)),
    missing_rollouts Array(String)
) ENGINE = ReplacingMergeTree(row_version)
ORDER BY (project, group_id, rule, credit);
