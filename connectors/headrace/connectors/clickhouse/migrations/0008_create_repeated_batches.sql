-- Batches of an episode that brought none of its spans, for all had come before. Their numbers are
-- in no row of `spans`; without this table they would pass for holes. A set: rows are only added.
CREATE TABLE IF NOT EXISTS repeated_batches (
    project LowCardinality(String),
    rollout_id String,
    attempt String,
    producer String,
    episode_batch UInt32,
    partition UInt32,
    offset UInt64 COMMENT 'where it stood first',
    log_time Int64,
    ver Int64 COMMENT 'minus the offset'
) ENGINE = ReplacingMergeTree(ver)
ORDER BY (project, rollout_id, attempt, producer, episode_batch);
