-- Views in users' words. Rules of all of them: `FINAL` is inside; a group counts once, under the pair
-- of rule and method that the stage changed to last (`current_groups`); what became of a sample is
-- what the trainer decided that makes the policy's versions (`decisions`), never a shadow; times are
-- DateTime64 in UTC; statistics are over episodes. Pages and dashboards read views alone.

-- One row a group: of its rows, that of the rule and method that came into force last.
CREATE OR REPLACE VIEW current_groups AS
SELECT * FROM groups FINAL
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
SETTINGS join_use_nulls = 0;

CREATE OR REPLACE VIEW decisions AS
SELECT * FROM outcomes FINAL
WHERE outcome IN ('trained', 'dropped') AND (toString(policy), toString(trainer)) IN (
    SELECT toString(policy), toString(argMax(trainer, version)) FROM policies FINAL GROUP BY policy
);

-- Of an attempt tried more than once: the one that its group used, else the last to begin.
CREATE OR REPLACE VIEW rollouts AS
SELECT
    r.project AS project, r.rollout_id AS rollout_id, r.policy AS policy, r.split AS split,
    r.group_id AS group_id, r.agent AS agent, r.pinned_version AS pinned_version,
    r.asked_at AS asked_at, r.started_at AS started_at, r.ended_at AS ended_at,
    if(g.state = 'final', fromUnixTimestamp64Milli(nullIf(g.log_last, 0), 'UTC'), NULL)
        AS credited_at,
    fromUnixTimestamp64Milli(nullIf(d.last, 0), 'UTC') AS decided_at,
    multiIf(
        d.rollout_id != '' AND r.split = 'eval', 'evaluated',
        d.trained > 0, 'trained',
        d.rollout_id != '', 'dropped',
        g.state = 'final', 'credited',
        r.attempts = 0, 'asked',
        r.episode_state = 'open', 'running',
        'waiting') AS state,
    multiIf(
        state = 'dropped', d.reason,
        state = 'waiting' AND g.state = 'open', 'group_open',
        state = 'waiting', 'not_credited',
        state = 'credited' AND g.outcome != 'train', g.outcome,
        '') AS reason,
    r.attempts AS attempts, r.attempt AS attempt, r.status AS status, r.complete AS complete,
    r.calls AS calls, r.tools AS tools, r.prompt_tokens AS prompt_tokens,
    r.completion_tokens AS completion_tokens, r.version_min AS version_min,
    r.version_max AS version_max, g.reward AS reward,
    if(g.state = 'final', g.advantage, NULL) AS advantage, r.signals AS signals,
    r.task_input AS task_input, r.expected AS expected
FROM (
    SELECT
        if(e.rollout_id = '', t.project, e.project) AS project,
        if(e.rollout_id = '', t.rollout_id, e.rollout_id) AS rollout_id,
        toString(if(t.rollout_id = '', e.policy, t.policy)) AS policy,
        toString(if(t.rollout_id = '', e.split, t.split)) AS split,
        if(t.rollout_id = '', e.group_id, t.group_id) AS group_id,
        t.agent AS agent,
        if(t.rollout_id = '' OR t.version < 0, NULL, t.version) AS pinned_version,
        fromUnixTimestamp64Milli(nullIf(t.log_time, 0), 'UTC') AS asked_at,
        fromUnixTimestamp64Milli(nullIf(e.log_first, 0), 'UTC') AS started_at,
        if(e.state = 'closed', fromUnixTimestamp64Milli(nullIf(e.log_last, 0), 'UTC'), NULL)
            AS ended_at,
        e.attempts AS attempts, e.attempt AS attempt, e.state AS episode_state,
        e.status AS status, e.complete AS complete, e.calls AS calls, e.tools AS tools,
        e.prompt_tokens AS prompt_tokens, e.completion_tokens AS completion_tokens,
        if(e.rollout_id = '', toInt32(-1), e.version_min) AS version_min,
        if(e.rollout_id = '', toInt32(-1), e.version_max) AS version_max,
        e.signals AS signals,
        if(t.rollout_id = '', e.task_input, t.input) AS task_input,
        if(t.rollout_id = '', e.expected, t.expected) AS expected
    FROM (SELECT * FROM tasks FINAL) AS t
    FULL JOIN (
        SELECT *, count() OVER (PARTITION BY project, rollout_id) AS attempts
        FROM (SELECT * FROM episodes FINAL)
        QUALIFY row_number() OVER (
            PARTITION BY project, rollout_id
            ORDER BY (project, rollout_id, attempt) IN (
                SELECT project, m.rollout_id, m.attempt
                FROM (SELECT project, arrayJoin(members) AS m FROM current_groups)
                WHERE m.status = 'used'
            ) DESC, log_first DESC, attempt DESC
        ) = 1
    ) AS e ON e.project = t.project AND e.rollout_id = t.rollout_id
) AS r
LEFT JOIN (
    SELECT project, state, outcome, log_last, m.rollout_id AS rollout_id, m.attempt AS attempt,
        m.reward AS reward, m.advantage AS advantage
    FROM (
        SELECT project, state, outcome, log_last, arrayJoin(members) AS m FROM current_groups
    )
) AS g ON g.project = r.project AND g.rollout_id = r.rollout_id AND g.attempt = r.attempt
LEFT JOIN (
    SELECT project, rollout_id, countIf(outcome = 'trained') AS trained, max(log_time) AS last,
        if(countIf(telling) > 0, minIf(reason, telling), max(reason)) AS reason
    FROM (
        SELECT project, rollout_id, outcome, log_time, toString(reason) AS reason,
            reason != '' AND reason != 'not_selected' AS telling
        FROM decisions
    )
    GROUP BY project, rollout_id
) AS d ON d.project = r.project AND d.rollout_id = r.rollout_id
SETTINGS join_use_nulls = 0;

CREATE OR REPLACE VIEW timeline AS
SELECT
    s.project AS project, s.rollout_id AS rollout_id, s.attempt AS attempt, s.span_id AS span_id,
    if(c.span_id = '', s.parent_id, c.parent_id) AS parent_id, s.kind AS kind, s.name AS name,
    if(c.span_id = '', s.agent, c.agent) AS agent, s.status AS status,
    fromUnixTimestamp64Nano(s.began, 'UTC') AS started_at,
    fromUnixTimestamp64Nano(s.finished, 'UTC') AS ended_at,
    (s.began - s.first) / 1e6 AS from_ms,
    greatest(s.finished - s.began, 0) / 1e6 AS milliseconds,
    s.prompt_tokens AS prompt_tokens, s.completion_tokens AS completion_tokens,
    s.version_min AS version_min, s.version_max AS version_max,
    s.finish_reason AS finish_reason, s.trainable AS trainable,
    s.untrainable_reason AS untrainable_reason, s.reward_name AS reward_name,
    s.reward_value AS reward_value, s.input_characters AS input_characters,
    s.output_characters AS output_characters, s.input_preview AS input_preview,
    s.output_preview AS output_preview, s.partition AS partition, s.offset AS offset,
    fromUnixTimestamp64Milli(s.log_time, 'UTC') AS logged_at
FROM (
    SELECT project, rollout_id, attempt, span_id, parent_id, kind, name, agent, status,
        nullIf(started_at, 0) AS began, nullIf(ended_at, 0) AS finished,
        min(nullIf(started_at, 0)) OVER (PARTITION BY project, rollout_id, attempt) AS first,
        if(kind = 'call', prompt_base_length + length(prompt_ids), 0) AS prompt_tokens,
        length(sampled_ids) AS completion_tokens,
        if(empty(run_versions), NULL, toInt32(arrayMin(run_versions))) AS version_min,
        if(empty(run_versions), NULL, toInt32(arrayMax(run_versions))) AS version_max,
        finish_reason, trainable, untrainable_reason, reward_name, reward_value,
        lengthUTF8(input) AS input_characters, lengthUTF8(output) AS output_characters,
        substringUTF8(input, 1, 200) AS input_preview,
        substringUTF8(output, 1, 200) AS output_preview,
        partition, offset, log_time
    FROM spans FINAL
) AS s
LEFT JOIN (
    SELECT project, rollout_id, attempt, told.span_id AS span_id, told.agent AS agent,
        told.parent_id AS parent_id
    FROM (
        SELECT project, rollout_id, attempt, arrayJoin(contexts) AS told
        FROM (SELECT * FROM episodes FINAL WHERE notEmpty(contexts))
    )
) AS c ON c.project = s.project AND c.rollout_id = s.rollout_id AND c.attempt = s.attempt
    AND c.span_id = s.span_id
SETTINGS join_use_nulls = 0;

-- A call's input is a JSON list of messages, else one message of the user; its output comes last.
-- New is what did not stand in its place in the call before of the same agent.
CREATE OR REPLACE VIEW messages AS
SELECT
    project, rollout_id, attempt, span_id,
    concat(rollout_id, '/', attempt, '/', span_id) AS call_id, agent,
    place AS position, said.1 AS role, said.2 AS content, said.3 AS name, said.4 AS tool_calls,
    said.5 AS tool_call_id, place = length(all_said) AS is_output,
    place = length(all_said) OR place > length(before)
        OR (before[place].1, before[place].2) != (said.1, said.2) AS is_new,
    called_at
FROM (
    SELECT project, rollout_id, attempt, span_id, agent, called_at, all_said,
        lagInFrame(all_said) OVER (
            PARTITION BY project, rollout_id, attempt, agent
            ORDER BY called_at, span_id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
        ) AS before
    FROM (
        SELECT c.project AS project, c.rollout_id AS rollout_id, c.attempt AS attempt,
            c.span_id AS span_id, if(t.span_id = '', c.agent, t.agent) AS agent,
            c.called_at AS called_at, c.all_said AS all_said
        FROM (
            SELECT project, rollout_id, attempt, span_id, agent,
                fromUnixTimestamp64Nano(started_at, 'UTC') AS called_at,
                arrayConcat(
                    if(JSONType(input) = 'Array', arrayMap(m -> (
                        JSONExtractString(m, 'role'),
                        if(JSONType(m, 'content') IN ('Array', 'Object'),
                            JSONExtractRaw(m, 'content'), JSONExtractString(m, 'content')),
                        JSONExtractString(m, 'name'), JSONExtractRaw(m, 'tool_calls'),
                        JSONExtractString(m, 'tool_call_id')
                    ), JSONExtractArrayRaw(input)), [(
                        'user', if(JSONType(input) = 'String', JSONExtractString(input), input),
                        '', '', '')]),
                    [('assistant', output, '', '', '')]) AS all_said
            FROM spans FINAL WHERE kind = 'call' AND has_content
        ) AS c
        LEFT JOIN (
            SELECT project, rollout_id, attempt, told.span_id AS span_id, told.agent AS agent
            FROM (
                SELECT project, rollout_id, attempt, arrayJoin(contexts) AS told
                FROM (SELECT * FROM episodes FINAL WHERE notEmpty(contexts))
            )
        ) AS t ON t.project = c.project AND t.rollout_id = c.rollout_id
            AND t.attempt = c.attempt AND t.span_id = c.span_id
    )
)
ARRAY JOIN all_said AS said, arrayEnumerate(all_said) AS place
SETTINGS join_use_nulls = 0;

CREATE OR REPLACE VIEW tokens AS
SELECT
    t.project AS project, t.rollout_id AS rollout_id, t.attempt AS attempt, t.span_id AS span_id,
    t.call_id AS call_id, t.agent AS agent, t.policy AS policy, t.position AS position,
    t.token_id AS token_id, t.logprob AS logprob, t.version AS version,
    if(s.sample_id = '', NULL, s.advantage) AS advantage
FROM (
    SELECT project, rollout_id, attempt, span_id,
        concat(rollout_id, '/', attempt, '/', span_id) AS call_id, agent, policy,
        position, token_id,
        if(position > length(logprobs), NULL, logprobs[position]) AS logprob,
        if(position > length(token_versions), NULL, toInt32(token_versions[position])) AS version
    FROM (
        SELECT project, rollout_id, attempt, span_id, agent, policy, sampled_ids, logprobs,
            arrayFlatten(arrayMap(
                (v, n) -> arrayWithConstant(n, v), run_versions, run_lengths)) AS token_versions
        FROM spans FINAL WHERE kind = 'call' AND notEmpty(sampled_ids)
    )
    ARRAY JOIN sampled_ids AS token_id, arrayEnumerate(sampled_ids) AS position
) AS t
LEFT JOIN (
    SELECT project, rollout_id, attempt, sample_id, splitByChar('/', sample_id)[3] AS span_id,
        advantage
    FROM samples
) AS s ON s.project = t.project AND s.rollout_id = t.rollout_id AND s.attempt = t.attempt
    AND s.span_id = t.span_id
SETTINGS join_use_nulls = 0;

-- Rewards of used episodes under the pair in force, by the dimensions they were weighed of; and those
-- that spans gave an episode, of each name the last one.
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
        FROM (SELECT * FROM spans FINAL WHERE kind = 'reward')
        WHERE reward_target = '' AND reward_value IS NOT NULL
        GROUP BY project, rollout_id, attempt, name
    ) AS s
    INNER JOIN (
        SELECT * FROM episodes FINAL WHERE version_min >= 0
    ) AS e ON e.project = s.project AND e.rollout_id = s.rollout_id AND e.attempt = s.attempt
)
GROUP BY project, policy, split, version, origin, name;

CREATE OR REPLACE VIEW group_outcomes AS
SELECT
    project, policy, split, version, outcome, count() AS groups,
    count() / sum(count()) OVER (PARTITION BY project, policy, split, version) AS share,
    avg(std) AS mean_std
FROM (
    SELECT project, policy, split, outcome, std,
        arrayMin(arrayFilter(
            v -> v >= 0, arrayMap(m -> m.version_min, members))) AS version
    FROM current_groups
    WHERE state = 'final' AND arrayExists(m -> m.version_min >= 0, members)
)
GROUP BY project, policy, split, version, outcome;

-- A policy's name stands for the version that its traffic names, else for the newest. Both are
-- records of one partition, so their offsets are one order.
CREATE OR REPLACE VIEW served AS
SELECT
    policy, version, served_from,
    nullIf(leadInFrame(served_from) OVER (
        PARTITION BY policy ORDER BY place ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
    ), toDateTime64(0, 3, 'UTC')) AS served_to
FROM (
    SELECT policy, place, fromUnixTimestamp64Milli(log_time, 'UTC') AS served_from, version,
        lagInFrame(toNullable(version)) OVER (
            PARTITION BY policy ORDER BY place ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
        ) AS before
    FROM (
        SELECT policy, place, log_time,
            if(said >= 0, said, newest) AS version
        FROM (
            SELECT policy, place, log_time,
                max(published) OVER each AS newest,
                ifNull(anyLast(directed) OVER each, -1) AS said
            FROM (
                SELECT toString(policy) AS policy, offset AS place, log_time,
                    version AS published, CAST(NULL, 'Nullable(Int32)') AS directed
                FROM policies FINAL
                UNION ALL
                SELECT toString(policy), offset, log_time, toInt32(-1), toNullable(version)
                FROM traffic FINAL
            )
            WINDOW each AS (
                PARTITION BY policy ORDER BY place
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            )
        )
    )
)
WHERE version >= 0 AND ifNull(before != version, true);

CREATE OR REPLACE VIEW versions AS
SELECT
    p.policy AS policy, p.version AS version, p.parent AS parent, p.trainer AS trainer,
    fromUnixTimestamp64Milli(p.created_at, 'UTC') AS created_at, p.base_model AS base_model,
    p.weights_hash AS weights_hash, p.config_hash AS config_hash, length(p.groups) AS groups,
    o.episodes AS episodes, p.samples AS samples, o.tokens AS tokens,
    if(t.episodes = 0, NULL, t.reward) AS train_reward,
    if(v.episodes = 0, NULL, v.reward) AS eval_reward, v.episodes AS eval_episodes,
    p.values[1] AS logp_gap, p.values[2] AS ess, p.values[3] AS kl_k3,
    p.values[4] AS clip_fraction, p.values[5] AS entropy, p.values[6] AS staleness_mean,
    p.values[7] AS seconds, d.dropped AS dropped,
    nullIf(s.served_from, toDateTime64(0, 3, 'UTC')) AS served_from, s.served_to AS served_to
FROM (
    SELECT *, arrayMap(
        name -> if(mapContains(metrics, name), toNullable(metrics[name]), NULL),
        ['logp_gap', 'ess', 'kl_k3', 'clip_fraction', 'entropy', 'staleness_mean', 'seconds']
    ) AS values
    FROM policies FINAL
) AS p
LEFT JOIN (
    SELECT policy, trainer, step, uniqExact(project, rollout_id, attempt) AS episodes,
        sum(tokens) AS tokens
    FROM outcomes FINAL WHERE outcome = 'trained' GROUP BY policy, trainer, step
) AS o ON o.policy = p.policy AND o.trainer = p.trainer AND o.step = p.version
LEFT JOIN (
    SELECT policy, trainer, step, count() AS dropped
    FROM outcomes FINAL WHERE outcome = 'dropped' AND sample_id != ''
    GROUP BY policy, trainer, step
) AS d ON d.policy = p.policy AND d.trainer = p.trainer AND d.step = p.version
LEFT JOIN (
    SELECT policy, version, sum(n) AS episodes, sum(mean * n) / sum(n) AS reward
    FROM (
        SELECT policy, version, episodes AS n, reward AS mean FROM reward_by_policy
        WHERE split = 'train'
    )
    GROUP BY policy, version
) AS t ON t.policy = p.policy AND t.version = p.version
LEFT JOIN (
    SELECT policy, version, sum(n) AS episodes, sum(mean * n) / sum(n) AS reward
    FROM (
        SELECT policy, version, episodes AS n, reward AS mean FROM reward_by_policy
        WHERE split = 'eval'
    )
    GROUP BY policy, version
) AS v ON v.policy = p.policy AND v.version = p.version
LEFT JOIN (
    SELECT policy, version, min(served_from) AS served_from,
        if(countIf(served_to IS NULL) > 0, NULL, max(served_to)) AS served_to
    FROM served GROUP BY policy, version
) AS s ON s.policy = p.policy AND s.version = p.version
SETTINGS join_use_nulls = 0;

CREATE OR REPLACE VIEW policy_metrics AS
SELECT policy, version, trainer, each.1 AS metric, each.2 AS value,
    fromUnixTimestamp64Milli(created_at, 'UTC') AS created_at
FROM (
    SELECT policy, version, trainer, created_at,
        arrayJoin(arrayZip(mapKeys(metrics), mapValues(metrics))) AS each
    FROM policies FINAL
);

-- `outcomes` holds what was used when the version was made, and nothing replaces it.
CREATE OR REPLACE VIEW lineage AS
SELECT
    o.project AS project, o.policy AS policy, o.step AS version, o.trainer AS trainer,
    o.group_id AS group_id, o.rollout_id AS rollout_id, o.attempt AS attempt,
    o.sample_id AS sample_id, o.agent AS agent, o.tokens AS tokens, o.staleness AS staleness,
    o.rule AS rule, o.credit AS credit, o.credits_version AS credits_version,
    o.reward AS reward_used, o.advantage AS advantage_used,
    n.reward AS reward_now, if(n.sample_id = '', NULL, n.advantage) AS advantage_now,
    n.rule AS rule_now, n.sample_id != ''
        AND NOT (reward_used <=> reward_now AND advantage_used <=> advantage_now) AS revised,
    fromUnixTimestamp64Milli(o.log_time, 'UTC') AS trained_at
FROM (SELECT * FROM outcomes FINAL WHERE outcome = 'trained') AS o
INNER JOIN (SELECT policy, version, trainer FROM policies FINAL) AS p
    ON p.policy = o.policy AND p.version = o.step AND p.trainer = o.trainer
LEFT JOIN (
    SELECT project, toString(rule) AS rule, s.sample_id AS sample_id, s.advantage AS advantage,
        arrayFirst(
            m -> m.rollout_id = s.rollout_id AND m.attempt = s.attempt, members
        ).reward AS reward
    FROM (SELECT project, rule, members, samples FROM current_groups)
    ARRAY JOIN samples AS s
) AS n ON n.project = o.project AND n.sample_id = o.sample_id
SETTINGS join_use_nulls = 0;

CREATE OR REPLACE VIEW rewards_as_of AS
SELECT
    project, rollout_id, attempt, span_id, reward_name AS name, reward_value AS value,
    reward_source AS source, reward_target AS target,
    fromUnixTimestamp64Milli(log_time, 'UTC') AS logged_at
FROM spans FINAL
WHERE kind = 'reward' AND log_time <= (
    SELECT max(log_time) FROM policies FINAL
    WHERE policy = {policy:String} AND version = {version:Int32}
);

CREATE OR REPLACE VIEW trained_as_of AS
WITH RECURSIVE ancestry AS (
    SELECT toInt32(version) AS version, toInt32(parent) AS parent FROM policies FINAL
    WHERE policy = {policy:String} AND version = {version:Int32}
    UNION ALL
    SELECT toInt32(p.version), toInt32(p.parent) FROM policies AS p FINAL
    INNER JOIN ancestry AS a ON p.version = a.parent
    WHERE p.policy = {policy:String} AND p.version < a.version
)
SELECT * FROM lineage
WHERE policy = {policy:String} AND version IN (SELECT version FROM ancestry);

CREATE OR REPLACE VIEW evaluations AS
SELECT
    t.project AS project, t.policy AS policy, t.version AS version,
    lower(hex(sipHash128(t.input, t.expected))) AS task_key, t.input AS task_input,
    t.expected AS expected, t.rollout_id AS rollout_id, m.attempt AS attempt, m.reward AS reward,
    e.status AS status, e.result AS result, e.completion_tokens AS completion_tokens,
    e.log_last - e.log_first AS milliseconds,
    fromUnixTimestamp64Milli(t.log_time, 'UTC') AS asked_at
FROM (SELECT * FROM tasks FINAL WHERE split = 'eval') AS t
INNER JOIN (
    SELECT project, m.rollout_id AS rollout_id, m.attempt AS attempt, m.reward AS reward
    FROM (
        SELECT project, arrayJoin(arrayFilter(each -> each.status = 'used', members)) AS m
        FROM current_groups WHERE state = 'final' AND split = 'eval'
    )
) AS m ON m.project = t.project AND m.rollout_id = t.rollout_id
INNER JOIN (SELECT * FROM episodes FINAL WHERE state = 'closed') AS e
    ON e.project = m.project AND e.rollout_id = m.rollout_id AND e.attempt = m.attempt;

-- Where a version answered a task more than once, its newest answer counts.
CREATE OR REPLACE VIEW compare_versions AS
SELECT
    project, task_key, any(task_input) AS task_input, any(expected) AS expected,
    argMaxIf(reward, newest, version = {a:Int32}) AS reward_a,
    argMaxIf(reward, newest, version = {b:Int32}) AS reward_b,
    multiIf(reward_b > reward_a, 'better', reward_b < reward_a, 'worse', 'same') AS verdict,
    argMaxIf(rollout_id, newest, version = {a:Int32}) AS rollout_a,
    argMaxIf(attempt, newest, version = {a:Int32}) AS attempt_a,
    argMaxIf(rollout_id, newest, version = {b:Int32}) AS rollout_b,
    argMaxIf(attempt, newest, version = {b:Int32}) AS attempt_b
FROM (
    SELECT *, (asked_at, rollout_id) AS newest FROM evaluations
    WHERE policy = {policy:String} AND version IN ({a:Int32}, {b:Int32}) AND reward IS NOT NULL
)
GROUP BY project, task_key
HAVING countIf(version = {a:Int32}) > 0 AND countIf(version = {b:Int32}) > 0;

-- Live results and those of replays, of episodes that both pairs credited.
CREATE OR REPLACE VIEW compare_rules AS
SELECT
    project, policy, split, group_id, rollout_id, attempt,
    anyIf(reward, side = 'a') AS reward_a, anyIf(reward, side = 'b') AS reward_b,
    anyIf(advantage, side = 'a') AS advantage_a, anyIf(advantage, side = 'b') AS advantage_b,
    advantage_a * advantage_b < 0 AS sign_flip,
    anyIf(outcome, side = 'a') AS outcome_a, anyIf(outcome, side = 'b') AS outcome_b
FROM (
    SELECT project, policy, split, group_id, outcome, m.rollout_id AS rollout_id,
        m.attempt AS attempt, m.reward AS reward, m.advantage AS advantage, side
    FROM (
        SELECT project, policy, split, group_id, outcome, arrayJoin(members) AS m,
            arrayJoin(arrayFilter(s -> s != '', [
                if((rule, credit) = ({rule_a:String}, {credit_a:String}), 'a', ''),
                if((rule, credit) = ({rule_b:String}, {credit_b:String}), 'b', '')])) AS side
        FROM (
            SELECT project, policy, split, group_id, toString(rule) AS rule,
                toString(credit) AS credit, outcome, state, members FROM groups FINAL
            UNION ALL
            SELECT project, policy, split, group_id, toString(rule), toString(credit), outcome,
                state, members FROM replays FINAL
        )
        WHERE state = 'final'
    )
)
GROUP BY project, policy, split, group_id, rollout_id, attempt
HAVING countIf(side = 'a') > 0 AND countIf(side = 'b') > 0;

CREATE OR REPLACE VIEW credit_by_agent AS
SELECT
    s.project AS project, s.policy AS policy, s.split AS split, s.version_min AS version,
    s.agent AS agent, count() AS samples, uniqExact(s.rollout_id, s.attempt) AS episodes,
    countIf(d.outcome = 'trained') AS trained, countIf(d.outcome = 'dropped') AS dropped,
    avg(s.advantage) AS mean_advantage, avg(abs(s.advantage)) AS mean_abs_advantage,
    sum(abs(s.advantage) * s.tokens)
        / nullIf(sum(sum(abs(s.advantage) * s.tokens)) OVER (
            PARTITION BY s.project, s.policy, s.split, s.version_min), 0) AS share_of_weight,
    sum(s.tokens) AS tokens
FROM samples AS s
LEFT JOIN (
    SELECT project, sample_id, max(outcome) AS outcome
    FROM (SELECT project, sample_id, toString(outcome) AS outcome FROM decisions)
    WHERE sample_id != '' GROUP BY project, sample_id
) AS d ON d.project = s.project AND d.sample_id = s.sample_id
GROUP BY s.project, s.policy, s.split, s.version_min, s.agent
SETTINGS join_use_nulls = 0;

CREATE OR REPLACE VIEW tokens_by_policy AS
SELECT
    c.project AS project, c.policy AS policy, c.version AS version, c.day AS day,
    count() AS calls, sum(c.prompt) AS prompt_tokens, sum(c.completion) AS completion_tokens,
    sumIf(c.completion, d.outcome = 'trained') AS trained_tokens,
    sumIf(c.completion, d.outcome = 'dropped') AS dropped_tokens,
    sum(c.seconds) AS call_seconds
FROM (
    SELECT project, policy, toDate(fromUnixTimestamp64Milli(log_time, 'UTC')) AS day,
        if(empty(run_versions), toInt32(-1), toInt32(arrayMin(run_versions))) AS version,
        prompt_base_length + length(prompt_ids) AS prompt, length(sampled_ids) AS completion,
        greatest(ended_at - started_at, 0) / 1e9 AS seconds,
        concat(rollout_id, '/', attempt, '/', span_id, '/') AS sample
    FROM spans FINAL WHERE kind = 'call'
) AS c
LEFT JOIN (
    SELECT project, substring(sample_id, 1, length(sample_id) - position(reverse(sample_id), '/') + 1)
            AS sample, max(toString(outcome)) AS outcome
    FROM decisions WHERE sample_id != '' GROUP BY project, sample
) AS d ON d.project = c.project AND d.sample = c.sample
GROUP BY c.project, c.policy, c.version, c.day
SETTINGS join_use_nulls = 0;

CREATE OR REPLACE VIEW signals_by_policy AS
SELECT
    project, policy, split, version, signal, uniqExactIf((rollout_id, attempt), value > 0) AS episodes,
    sum(value) AS count, episodes / any(whole) AS share
FROM (
    SELECT project, policy, split, version, rollout_id, attempt, each.1 AS signal, each.2 AS value,
        whole
    FROM (
        SELECT project, policy, split, version_min AS version, rollout_id, attempt, signals,
            count() OVER (PARTITION BY project, policy, split, version_min) AS whole
        FROM (SELECT * FROM episodes FINAL WHERE state = 'closed')
    )
    ARRAY JOIN arrayZip(mapKeys(signals), mapValues(signals)) AS each
)
GROUP BY project, policy, split, version, signal;

CREATE OR REPLACE VIEW latency_by_policy AS
SELECT
    s.project AS project, e.policy AS policy, e.split AS split, e.version_min AS version,
    s.kind AS kind, s.name AS name, count() AS calls, countIf(s.status = 'error') AS errors,
    quantile(0.5)(s.milliseconds) AS p50, quantile(0.9)(s.milliseconds) AS p90,
    quantile(0.99)(s.milliseconds) AS p99
FROM (
    SELECT project, rollout_id, attempt, kind, name, status,
        greatest(ended_at - started_at, 0) / 1e6 AS milliseconds
    FROM spans FINAL WHERE kind IN ('call', 'tool')
) AS s
INNER JOIN (
    SELECT project, rollout_id, attempt, policy, split, version_min FROM episodes FINAL
) AS e ON e.project = s.project AND e.rollout_id = s.rollout_id AND e.attempt = s.attempt
GROUP BY project, policy, split, version, kind, name;

CREATE OR REPLACE VIEW ledger_balance AS
SELECT
    r.project AS project, r.policy AS policy, r.split AS split,
    countIf(r.asked_at IS NOT NULL) AS asked, countIf(r.asked_at IS NULL) AS unasked,
    countIf(r.state = 'asked') AS not_started, countIf(r.state = 'running') AS running,
    countIf(r.state = 'waiting') AS waiting, countIf(r.state = 'credited') AS credited,
    countIf(r.state = 'trained') AS trained, countIf(r.state = 'dropped') AS dropped,
    countIf(r.state = 'evaluated') AS evaluated,
    countIf(d.twice > 0) AS decided_twice,
    asked + unasked = not_started + running + waiting + credited + trained + dropped + evaluated
        AND decided_twice = 0 AS balanced
FROM (SELECT project, policy, split, rollout_id, asked_at, state FROM rollouts) AS r
LEFT JOIN (
    SELECT project, rollout_id, countIf(n > 1) AS twice
    FROM (
        SELECT project, rollout_id, sample_id, count() AS n FROM decisions
        GROUP BY project, rollout_id, sample_id
    )
    GROUP BY project, rollout_id
) AS d ON d.project = r.project AND d.rollout_id = r.rollout_id
GROUP BY r.project, r.policy, r.split
SETTINGS join_use_nulls = 0;

CREATE OR REPLACE VIEW freshness AS
SELECT
    stage, table, partition, fromUnixTimestamp64Milli(newest, 'UTC') AS newest_at,
    toUnixTimestamp64Milli(now64(3)) - newest AS age_ms
FROM (
    SELECT 'assemble' AS stage, 'spans' AS table, partition, max(log_time) AS newest
    FROM spans GROUP BY partition
    UNION ALL
    SELECT 'assemble', 'episodes', partition, max(log_last) FROM episodes GROUP BY partition
    UNION ALL
    SELECT 'credit', 'groups', partition, max(log_last) FROM groups GROUP BY partition
    UNION ALL
    SELECT 'sink', 'tasks', partition, max(log_time) FROM tasks GROUP BY partition
    UNION ALL
    SELECT 'sink', 'outcomes', partition, max(log_time) FROM outcomes GROUP BY partition
    UNION ALL
    SELECT 'sink', 'policies', toUInt32(0), max(log_time) FROM policies HAVING count() > 0
);

CREATE OR REPLACE VIEW staleness AS
SELECT
    project, policy, step AS version, staleness, count() AS samples,
    count() / sum(count()) OVER (PARTITION BY project, policy, step) AS share
FROM decisions WHERE outcome = 'trained' GROUP BY project, policy, step, staleness;
