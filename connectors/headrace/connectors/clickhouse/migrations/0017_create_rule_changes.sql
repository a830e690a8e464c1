-- By what the credit stage credits now is told by the stage: a late reward of an old group, or an old
-- log read again, says nothing of it. A row is written when a stage starts with another pair than the
-- last row's; two workers that start at once write the same row, or one number twice.
CREATE TABLE IF NOT EXISTS rule_changes (
    number UInt32 COMMENT 'from 1 on; the highest is in force',
    rule LowCardinality(String) COMMENT 'reward rule, name@version',
    credit LowCardinality(String) COMMENT 'credit method, call/baseline/token@version'
) ENGINE = ReplacingMergeTree
ORDER BY (number, rule, credit);

-- The pair that the stage changed to last, of those that a project's policy has credits by. Pairs of
-- which no change tells are older than all that are told; among them the one that came last.
CREATE OR REPLACE VIEW current_rules AS
SELECT
    project, policy, tupleElement(pair, 1) AS rule, tupleElement(pair, 2) AS credit,
    fromUnixTimestamp64Milli(first_of, 'UTC') AS since
FROM (
    SELECT project, policy, argMax((rule, credit), (number, first, rule, credit)) AS pair,
        argMax(first, (number, first, rule, credit)) AS first_of
    FROM (
        SELECT g.project AS project, g.policy AS policy, g.rule AS rule, g.credit AS credit,
            g.first AS first, c.number AS number
        FROM (
            SELECT project, policy, toString(rule) AS rule, toString(credit) AS credit,
                min(log_first) AS first
            FROM groups FINAL GROUP BY project, policy, rule, credit
        ) AS g
        LEFT JOIN (
            SELECT toString(rule) AS rule, toString(credit) AS credit, max(number) AS number
            FROM rule_changes GROUP BY rule, credit
        ) AS c ON c.rule = g.rule AND c.credit = g.credit
    )
    GROUP BY project, policy
)
SETTINGS join_use_nulls = 0;

CREATE OR REPLACE VIEW samples AS
SELECT
    project, group_id, rule, credit, policy, split, outcome AS group_outcome,
    s.sample_id AS sample_id, s.rollout_id AS rollout_id, s.attempt AS attempt, s.agent AS agent,
    s.advantage AS advantage, s.trainable AS trainable, s.reason AS reason,
    s.version_min AS version_min, s.version_max AS version_max, s.tokens AS tokens,
    s.reward AS reward, s.policy AS answered_by
FROM (
    SELECT *, arrayJoin(samples) AS s FROM groups FINAL
    WHERE (project, group_id, toString(rule), toString(credit)) IN (
        SELECT project, group_id, tupleElement(pair, 1), tupleElement(pair, 2)
        FROM (
            SELECT g.project AS project, g.group_id AS group_id,
                argMax((g.rule, g.credit), (c.number, g.first, g.rule, g.credit)) AS pair
            FROM (
                SELECT project, group_id, toString(rule) AS rule, toString(credit) AS credit,
                    log_first AS first
                FROM groups FINAL
            ) AS g
            LEFT JOIN (
                SELECT toString(rule) AS rule, toString(credit) AS credit, max(number) AS number
                FROM rule_changes GROUP BY rule, credit
            ) AS c ON c.rule = g.rule AND c.credit = g.credit
            GROUP BY g.project, g.group_id
        )
    )
)
SETTINGS join_use_nulls = 0;
