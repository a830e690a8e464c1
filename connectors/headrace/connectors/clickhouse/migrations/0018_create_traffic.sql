-- Which version each policy's name stood for, one row a change: -1 is the newest. The topic holds the
-- last change alone once it is compacted, the table all.
CREATE TABLE IF NOT EXISTS traffic (
    policy LowCardinality(String),
    version Int32,
    shares Array(Tuple(version Int32, share Float64)),
    offset UInt64,
    log_time Int64
) ENGINE = ReplacingMergeTree
ORDER BY (policy, offset);

-- Partitions that stood still, and that went on again: one row a record of the topic of halts.
CREATE TABLE IF NOT EXISTS halts (
    stage LowCardinality(String),
    consumer_group LowCardinality(String),
    topic LowCardinality(String),
    partition UInt32,
    first_offset UInt64,
    end_offset UInt64,
    state LowCardinality(String),
    reason LowCardinality(String),
    detail String,
    offset UInt64,
    log_time Int64
) ENGINE = ReplacingMergeTree
ORDER BY (consumer_group, topic, partition, offset);
