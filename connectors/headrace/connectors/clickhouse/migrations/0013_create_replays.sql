-- What replays computed, laid out as `groups` and apart from it, so that no question about what was
-- live meets it. A column of `groups` is one of `replays` too: a test holds them equal.
CREATE TABLE IF NOT EXISTS replays AS groups
ENGINE = ReplacingMergeTree(row_version)
ORDER BY (project, group_id, rule, credit);

-- Which code a reward rule's id stands for: more than one digest is a rule that was changed without
-- a new version.
CREATE TABLE IF NOT EXISTS rules (
    rule LowCardinality(String) COMMENT 'name@version',
    digest LowCardinality(String) COMMENT 'of its code',
    text String CODEC(ZSTD(3)) COMMENT 'its source, where there is one'
) ENGINE = ReplacingMergeTree
ORDER BY (rule, digest);
