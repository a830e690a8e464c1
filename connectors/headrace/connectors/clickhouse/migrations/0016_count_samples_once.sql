-- A group has a row per reward rule and credit method that it was ever credited by, so whatever
-- counts chooses among them. `current_rules` is the newest pair of a project and policy; a group's
-- own newest pair is what its samples are credited by. Rows written earlier stay in `groups`.
CREATE OR REPLACE VIEW current_rules AS
SELECT
    project, policy, tupleElement(pair, 1) AS rule, tupleElement(pair, 2) AS credit,
    fromUnixTimestamp64Milli(first_of, 'UTC') AS since
FROM (
    SELECT project, policy, argMax((rule, credit), (last, rule, credit)) AS pair,
        argMax(first, (last, rule, credit)) AS first_of
    FROM (
        SELECT project, policy, toString(rule) AS rule, toString(credit) AS credit,
            min(log_first) AS first, max(log_last) AS last
        FROM groups FINAL GROUP BY project, policy, rule, credit
    )
    GROUP BY project, policy
);

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
            SELECT project, group_id,
                argMax((toString(rule), toString(credit)),
                    (log_last, toString(rule), toString(credit))) AS pair
            FROM groups FINAL GROUP BY project, group_id
        )
    )
);

-- Of final groups under the current pair, one episode a rollout: the first complete one in the log,
-- which is the order of `members`.
CREATE OR REPLACE VIEW reward_by_policy AS
SELECT
    project, policy, split, version, count() AS episodes, avg(value) AS reward,
    stddevSamp(value) AS deviation,
    avg(value) - 1.96 * stddevSamp(value) / sqrt(count()) AS low,
    avg(value) + 1.96 * stddevSamp(value) / sqrt(count()) AS high
FROM (
    SELECT project, policy, split, m.version_min AS version, m.reward AS value
    FROM (
        SELECT project, policy, split,
            arrayJoin(arrayFilter(each -> each.status != 'superseded', members)) AS m
        FROM groups FINAL
        WHERE state = 'final' AND (project, policy, toString(rule), toString(credit)) IN (
            SELECT project, policy, rule, credit FROM current_rules
        )
    )
    WHERE m.reward IS NOT NULL AND m.version_min >= 0
)
GROUP BY project, policy, split, version;
