-- Rewards of used episodes under the pair in force, by the dimensions they were weighed of; and those
-- that spans gave an episode, of each name the last one. A span that was sent twice has one kind, so
-- the others are left out before `FINAL` reads them.
CREATE OR REPLACE VIEW reward_dimensions AS
SELECT
    project, policy, split, version, origin, name, count() AS episodes, avg(value) AS mean,
    stddevSamp(value) AS deviation,
    avg(value) - 1.96 * stddevSamp(value) / sqrt(count()) AS low,
    avg(value) + 1.96 * stddevSamp(value) / sqrt(count()) AS high
FROM (
    SELECT project, policy, split, m.version_min AS version, each.1 AS origin, each.2 AS name,
        assumeNotNull(each.3) AS value
    FROM (
        SELECT project, policy, split, m, arrayJoin(arrayConcat(
                [('rule', toString(rule), m.reward)],
                arrayMap(d -> ('dimension', d.name, toNullable(d.value)), m.dimensions))) AS each
        FROM (
            SELECT project, policy, split, rule,
                arrayJoin(arrayFilter(one -> one.status = 'used', members)) AS m
            FROM groups FINAL
            WHERE state = 'final' AND (project, policy, toString(rule), toString(credit)) IN (
                SELECT project, policy, rule, credit FROM current_rules
            )
        )
    )
    WHERE m.version_min >= 0 AND each.3 IS NOT NULL
    UNION ALL
    SELECT e.project AS project, e.policy AS policy, e.split AS split, e.version_min AS version,
        'span' AS origin, s.name AS name, s.value AS value
    FROM (
        SELECT project, rollout_id, attempt, toString(reward_name) AS name,
            argMax(assumeNotNull(reward_value), (log_time, offset, span_id)) AS value
        FROM (SELECT * FROM spans FINAL PREWHERE kind = 'reward')
        WHERE reward_target = '' AND reward_value IS NOT NULL
        GROUP BY project, rollout_id, attempt, name
    ) AS s
    INNER JOIN (
        SELECT * FROM episodes FINAL WHERE version_min >= 0
    ) AS e ON e.project = s.project AND e.rollout_id = s.rollout_id AND e.attempt = s.attempt
)
GROUP BY project, policy, split, version, origin, name;

ALTER TABLE reward_dimensions
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN version 'oldest policy version of the episodes',
    COMMENT COLUMN origin 'who gave it: span, rule or dimension',
    COMMENT COLUMN name 'name of the rule, dimension or reward',
    COMMENT COLUMN episodes 'episodes',
    COMMENT COLUMN mean 'mean value',
    COMMENT COLUMN deviation 'sample standard deviation of the rewards',
    COMMENT COLUMN low 'lower end of the 95 % interval of the mean',
    COMMENT COLUMN high 'upper end of the 95 % interval of the mean';
