-- Two consumer groups may have lost the same range: each has its row.
ALTER TABLE drops
    ADD COLUMN IF NOT EXISTS consumer_group LowCardinality(String) AFTER stage,
    MODIFY ORDER BY (topic, partition, first_offset, consumer_group);
