-- Calls and tool executions as transitions of a DAG. A call's next state is that of `next_id`: the
-- first call of its agent that began after it had ended, under the same parent, or else the first
-- one under another parent. So calls that run side by side lead to the same next one, and a
-- sub-agent's calls are a path of their own. A tool belongs to the call that is its parent, else to
-- the last call of its agent before it, and leads where that one leads.
-- Texts and tokens come last, and stand left of the joins: windows and hash tables hold ids and
-- times alone, and a filter on project and rollout reaches every part.
CREATE VIEW IF NOT EXISTS transitions AS
WITH
    seen AS (
        SELECT
            s.project AS project, s.rollout_id AS rollout_id, s.attempt AS attempt,
            s.span_id AS span_id, s.kind AS kind,
            if(c.span_id = '', s.agent, c.agent) AS agent,
            if(c.span_id = '', s.parent_id, c.parent_id) AS parent_id,
            s.started_at AS started_at, s.ended_at AS ended_at
        FROM (
            SELECT project, rollout_id, attempt, span_id, toString(kind) AS kind,
                toString(agent) AS agent, parent_id, started_at, ended_at
            FROM spans FINAL WHERE kind IN ('call', 'tool')
        ) AS s
        LEFT JOIN (
            SELECT project, rollout_id, attempt, told.span_id AS span_id, told.agent AS agent,
                told.parent_id AS parent_id
            FROM (
                SELECT project, rollout_id, attempt, arrayJoin(contexts) AS told
                FROM (SELECT * FROM episodes FINAL WHERE notEmpty(contexts))
            )
        ) AS c ON c.project = s.project AND c.rollout_id = s.rollout_id
            AND c.attempt = s.attempt AND c.span_id = s.span_id
    ),
    -- The last call that had begun, of the same agent, of no named agent, and of any.
    placed AS (
        SELECT *,
            row_number() OVER (
                PARTITION BY project, rollout_id, attempt ORDER BY started_at, kind, span_id
            ) AS step,
            row_number() OVER (
                PARTITION BY project, rollout_id, attempt, kind, agent, parent_id
                ORDER BY started_at, span_id
            ) = 1 AS opens,
            max(if(kind = 'call', (started_at, span_id), (toInt64(-1), ''))) OVER (
                PARTITION BY project, rollout_id, attempt, agent
                ORDER BY started_at, kind, span_id ROWS UNBOUNDED PRECEDING
            ) AS of_agent,
            max(if(kind = 'call' AND agent = '', (started_at, span_id), (toInt64(-1), ''))) OVER (
                PARTITION BY project, rollout_id, attempt
                ORDER BY started_at, kind, span_id ROWS UNBOUNDED PRECEDING
            ) AS of_nobody,
            max(if(kind = 'call', (started_at, span_id), (toInt64(-1), ''))) OVER (
                PARTITION BY project, rollout_id, attempt
                ORDER BY started_at, kind, span_id ROWS UNBOUNDED PRECEDING
            ) AS of_any
        FROM seen
    ),
    -- Each call twice, at its beginning and at its end, from the last moment to the first: what was
    -- seen last at an end is what began next. Of calls without a duration the ids are the order.
    ended AS (
        SELECT project, rollout_id, attempt, span_id, ends,
            anyLast(if(ends, NULL, span_id)) OVER (
                PARTITION BY project, rollout_id, attempt, agent, parent_id
                ORDER BY at DESC, tie DESC, ends DESC ROWS UNBOUNDED PRECEDING
            ) AS under_parent,
            anyLast(if(ends OR NOT opens, NULL, span_id)) OVER (
                PARTITION BY project, rollout_id, attempt, agent
                ORDER BY at DESC, tie DESC, ends DESC ROWS UNBOUNDED PRECEDING
            ) AS of_agent
        FROM (
            SELECT project, rollout_id, attempt, span_id, agent, parent_id, opens, ends,
                if(ends, greatest(started_at, ended_at), started_at) AS at,
                if(ends AND ended_at > started_at, '', span_id) AS tie
            FROM placed ARRAY JOIN [false, true] AS ends
            WHERE kind = 'call'
        )
    ),
    following AS (
        SELECT project, rollout_id, attempt, span_id,
            ifNull(coalesce(under_parent, of_agent), '') AS next_id
        FROM ended WHERE ends
    ),
    graph AS (
        SELECT
            p.project AS project, p.rollout_id AS rollout_id, p.attempt AS attempt,
            p.span_id AS span_id, p.kind AS kind, p.agent AS agent, p.parent_id AS parent_id,
            p.step AS step,
            multiIf(
                p.kind = 'call', p.span_id,
                own.span_id != '', own.span_id,
                p.agent = '', p.of_any.2,
                greatest(p.of_agent, p.of_nobody).2
            ) AS caller
        FROM placed AS p
        LEFT JOIN (SELECT project, rollout_id, attempt, span_id FROM seen WHERE kind = 'call') AS own
            ON own.project = p.project AND own.rollout_id = p.rollout_id
            AND own.attempt = p.attempt AND own.span_id = p.parent_id
    ),
    -- Call rewards sum to the return: what it is beyond those of the calls comes with the last one.
    earned AS (
        SELECT project, rule, credit, rollout_id, attempt, span_id, advantage, trainable, reason,
            episode_reward,
            own + if(place = max(place) OVER each, episode_reward - sum(own) OVER each, 0) AS reward
        FROM (
            SELECT project, group_id, rule, credit, s.rollout_id AS rollout_id,
                s.attempt AS attempt, splitByChar('/', s.sample_id)[3] AS span_id,
                s.advantage AS advantage, s.trainable AS trainable, s.reason AS reason,
                place, ifNull(s.reward, 0) AS own,
                arrayFirst(
                    m -> m.rollout_id = s.rollout_id AND m.attempt = s.attempt, members
                ).reward AS episode_reward
            FROM (SELECT * FROM groups FINAL WHERE state = 'final')
            ARRAY JOIN samples AS s, arrayEnumerate(samples) AS place
        )
        WINDOW each AS (PARTITION BY project, group_id, rule, credit, rollout_id, attempt)
    )
SELECT
    g.project AS project, g.rollout_id AS rollout_id, g.attempt AS attempt, g.step AS step,
    g.span_id AS span_id, g.kind AS kind, x.name AS name, g.agent AS agent,
    g.parent_id AS parent_id, if(g.kind = 'call', '', g.caller) AS caller_id,
    if(g.kind = 'call', x.input, '') AS state,
    if(g.kind = 'call', x.output, x.input) AS action,
    if(g.kind = 'call', '', x.output) AS observation,
    if(g.kind = 'call', e.reward, NULL) AS reward,
    f.next_id AS next_id, f.next_id = '' AS terminal,
    x.status AS status, x.policy AS policy, x.run_versions AS run_versions,
    length(x.prompt_ids) AS prompt_tokens, length(x.sampled_ids) AS completion_tokens,
    e.rule AS rule, e.credit AS credit, if(g.kind = 'call', e.advantage, NULL) AS advantage,
    e.trainable AS trainable, e.reason AS reason, e.episode_reward AS episode_reward,
    x.started_at AS started_at, x.ended_at AS ended_at, x.log_time AS log_time,
    x.prompt_base AS prompt_base, x.prompt_base_length AS prompt_base_length,
    x.prompt_ids AS prompt_ids, x.sampled_ids AS sampled_ids, x.logprobs AS logprobs
FROM (SELECT * FROM spans FINAL WHERE kind IN ('call', 'tool')) AS x
INNER JOIN graph AS g ON g.project = x.project AND g.rollout_id = x.rollout_id
    AND g.attempt = x.attempt AND g.span_id = x.span_id
LEFT JOIN following AS f ON f.project = g.project AND f.rollout_id = g.rollout_id
    AND f.attempt = g.attempt AND f.span_id = g.caller
LEFT JOIN earned AS e ON e.project = g.project AND e.rollout_id = g.rollout_id
    AND e.attempt = g.attempt AND e.span_id = g.caller
SETTINGS join_use_nulls = 0;
