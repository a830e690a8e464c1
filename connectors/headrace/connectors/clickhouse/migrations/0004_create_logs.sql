-- The log tables, filled by the sink: a record's id is the key, so a replay changes nothing.
CREATE TABLE IF NOT EXISTS outcomes (
    project LowCardinality(String),
    rollout_id String,
    sample_id String COMMENT 'empty where the rollout made no sample',
    trainer LowCardinality(String),
    outcome LowCardinality(String) COMMENT 'trained or dropped',
    attempt String,
    group_id String,
    agent LowCardinality(String),
    policy LowCardinality(String),
    reason LowCardinality(String),
    step Int32,
    version_min Int32,
    version_max Int32,
    staleness Int32,
    advantage Nullable(Float64),
    reward Nullable(Float64),
    tokens UInt32,
    rule LowCardinality(String),
    credit LowCardinality(String),
    credits_version UInt64,
    decided_at Int64,
    partition UInt32,
    offset UInt64,
    log_time Int64
) ENGINE = ReplacingMergeTree
ORDER BY (project, rollout_id, sample_id, trainer, outcome);

CREATE TABLE IF NOT EXISTS policies (
    policy LowCardinality(String),
    version Int32,
    parent Int32,
    created_at Int64,
    trainer LowCardinality(String),
    uri String,
    content_hash String,
    weights_hash String,
    config_hash String,
    base_model String,
    groups Array(String),
    samples UInt32,
    metrics Map(LowCardinality(String), Float64),
    offsets Array(Tuple(topic String, partition Int32, offset Int64)),
    offset UInt64,
    log_time Int64
) ENGINE = ReplacingMergeTree
ORDER BY (policy, version);

CREATE TABLE IF NOT EXISTS tasks (
    project LowCardinality(String),
    rollout_id String,
    group_id String,
    group_size UInt32,
    policy LowCardinality(String),
    version Int32,
    split LowCardinality(String),
    agent String,
    input String,
    expected String,
    deadline Int64,
    subject Nullable(String),
    partition UInt32,
    offset UInt64,
    log_time Int64
) ENGINE = ReplacingMergeTree
ORDER BY (project, rollout_id);

CREATE TABLE IF NOT EXISTS dead_letters (
    topic LowCardinality(String) COMMENT 'topic the record came from',
    partition UInt32,
    offset UInt64,
    reason LowCardinality(String),
    message String,
    stage LowCardinality(String),
    size UInt32,
    log_time Int64
) ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset);

CREATE TABLE IF NOT EXISTS drops (
    stage LowCardinality(String),
    topic LowCardinality(String),
    partition UInt32,
    first_offset UInt64,
    last_offset UInt64,
    reason LowCardinality(String),
    log_time Int64
) ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, first_offset);
