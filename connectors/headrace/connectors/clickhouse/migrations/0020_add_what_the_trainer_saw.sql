-- How a call's advantage is shared over its tokens (empty: equally), beside it.
ALTER TABLE groups MODIFY COLUMN IF EXISTS samples Array(Tuple(
    sample_id String, rollout_id String, attempt String, agent String, policy String,
    advantage Float64, trainable Bool, reason String, call_reason String, version_min Int32,
    version_max Int32, tokens UInt32, reward Nullable(Float64), observed String,
    token_weights Array(Float32))) SETTINGS alter_sync = 1;

ALTER TABLE replays MODIFY COLUMN IF EXISTS samples Array(Tuple(
    sample_id String, rollout_id String, attempt String, agent String, policy String,
    advantage Float64, trainable Bool, reason String, call_reason String, version_min Int32,
    version_max Int32, tokens UInt32, reward Nullable(Float64), observed String,
    token_weights Array(Float32))) SETTINGS alter_sync = 1;

-- What the trainer saw of a trained sample, and of some of them by token ([trainer] annotate).
ALTER TABLE outcomes
    ADD COLUMN IF NOT EXISTS logp_gap Nullable(Float64),
    ADD COLUMN IF NOT EXISTS ratio_min Nullable(Float64),
    ADD COLUMN IF NOT EXISTS ratio_max Nullable(Float64),
    ADD COLUMN IF NOT EXISTS clipped Nullable(Float64),
    ADD COLUMN IF NOT EXISTS entropy Nullable(Float64),
    ADD COLUMN IF NOT EXISTS token_logprobs Array(Float32),
    ADD COLUMN IF NOT EXISTS token_entropies Array(Float32),
    ADD COLUMN IF NOT EXISTS token_masked Array(UInt8);

-- The bytes that each token of a policy stands for; a token may be a part of a character.
CREATE TABLE IF NOT EXISTS vocabulary (
    policy LowCardinality(String),
    token_id UInt32,
    bytes String
) ENGINE = ReplacingMergeTree
ORDER BY (policy, token_id);

-- What a model costs from a time on, in whatever money its reader counts in.
CREATE TABLE IF NOT EXISTS prices (
    model LowCardinality(String),
    since DateTime64(3, 'UTC'),
    per_million_prompt Float64,
    per_million_completion Float64,
    per_second Float64
) ENGINE = ReplacingMergeTree
ORDER BY (model, since);

-- Views of all columns: they have those of the time when they were made.
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

CREATE OR REPLACE VIEW tokens AS
SELECT
    t.project AS project, t.rollout_id AS rollout_id, t.attempt AS attempt, t.span_id AS span_id,
    t.call_id AS call_id, t.agent AS agent, t.policy AS policy, t.position AS position,
    t.token_id AS token_id, toValidUTF8(v.bytes) AS text, hex(v.bytes) AS bytes_hex,
    t.logprob AS logprob, t.version AS version,
    if(s.sample_id = '', NULL, s.advantage) AS advantage,
    if(s.sample_id = '', NULL,
        if(empty(s.token_weights), 1, s.token_weights[t.position])) AS weight,
    if(t.position > length(d.token_logprobs), NULL, d.token_logprobs[t.position])
        AS trainer_logprob,
    trainer_logprob - logprob AS gap,
    if(t.position > length(d.token_entropies), NULL, d.token_entropies[t.position]) AS entropy,
    if(t.position > length(d.token_masked), NULL, d.token_masked[t.position] != 0) AS masked
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
    SELECT project, s.rollout_id AS rollout_id, s.attempt AS attempt, s.sample_id AS sample_id,
        splitByChar('/', s.sample_id)[3] AS span_id, s.advantage AS advantage,
        s.token_weights AS token_weights
    FROM (SELECT project, samples FROM current_groups) ARRAY JOIN samples AS s
) AS s ON s.project = t.project AND s.rollout_id = t.rollout_id AND s.attempt = t.attempt
    AND s.span_id = t.span_id
LEFT JOIN (
    SELECT project, rollout_id, attempt, splitByChar('/', sample_id)[3] AS span_id,
        token_logprobs, token_entropies, token_masked
    FROM decisions WHERE outcome = 'trained'
) AS d ON d.project = t.project AND d.rollout_id = t.rollout_id AND d.attempt = t.attempt
    AND d.span_id = t.span_id
LEFT JOIN (SELECT toString(policy) AS policy, token_id, bytes FROM vocabulary FINAL) AS v
    ON v.policy = t.policy AND v.token_id = t.token_id
SETTINGS join_use_nulls = 0;

-- Of all attempts of a version's rollouts, those that failed too: what each solved one has cost.
CREATE OR REPLACE VIEW cost_per_solved AS
SELECT
    r.project AS project, r.policy AS policy, r.split AS split, r.version_min AS version,
    count() AS episodes, countIf(r.reward >= {threshold:Float64}) AS solved,
    solved / episodes AS solved_share,
    if(unpriced_calls > 0, NULL, sum(c.cost)) AS cost, cost / episodes AS cost_per_episode,
    if(solved = 0, NULL, cost / solved) AS cost_per_solved, sum(c.unpriced) AS unpriced_calls
FROM (
    SELECT project, policy, split, rollout_id, version_min, reward FROM rollouts
    WHERE attempts > 0 AND reward IS NOT NULL AND version_min >= 0
) AS r
LEFT JOIN (
    SELECT s.project AS project, s.rollout_id AS rollout_id,
        sum((s.prompt * p.per_million_prompt + s.completion * p.per_million_completion) / 1e6
            + s.seconds * p.per_second) AS cost,
        countIf(p.model = '') AS unpriced
    FROM (
        SELECT project, rollout_id, toString(if(policy = '', model, policy)) AS model,
            fromUnixTimestamp64Milli(log_time, 'UTC') AS at,
            prompt_base_length + length(prompt_ids) AS prompt,
            length(sampled_ids) AS completion, greatest(ended_at - started_at, 0) / 1e9 AS seconds
        FROM spans FINAL WHERE kind = 'call'
    ) AS s
    ASOF LEFT JOIN (
        SELECT toString(model) AS model, since, per_million_prompt, per_million_completion,
            per_second
        FROM prices FINAL
    ) AS p ON p.model = s.model AND s.at >= p.since
    GROUP BY s.project, s.rollout_id
) AS c ON c.project = r.project AND c.rollout_id = r.rollout_id
GROUP BY r.project, r.policy, r.split, r.version_min
SETTINGS join_use_nulls = 0;
