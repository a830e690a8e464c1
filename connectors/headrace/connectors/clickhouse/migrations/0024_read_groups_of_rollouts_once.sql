-- What a rollout's group says is joined to each attempt, before one of them is chosen: the groups are
-- read once. Of an attempt tried more than once: the one that its group used, else the last to begin.
CREATE OR REPLACE VIEW rollouts AS
SELECT
    r.project AS project, r.rollout_id AS rollout_id, r.policy AS policy, r.split AS split,
    r.group_id AS group_id, r.agent AS agent, r.pinned_version AS pinned_version,
    r.asked_at AS asked_at, r.started_at AS started_at, r.ended_at AS ended_at,
    if(r.group_state = 'final', fromUnixTimestamp64Milli(nullIf(r.credited, 0), 'UTC'), NULL)
        AS credited_at,
    fromUnixTimestamp64Milli(nullIf(d.last, 0), 'UTC') AS decided_at,
    multiIf(
        d.rollout_id != '' AND r.split = 'eval', 'evaluated',
        d.trained > 0, 'trained',
        d.rollout_id != '', 'dropped',
        r.group_state = 'final', 'credited',
        r.attempts = 0, 'asked',
        r.episode_state = 'open', 'running',
        'waiting') AS state,
    multiIf(
        state = 'dropped', d.reason,
        state = 'waiting' AND r.group_state = 'open', 'group_open',
        state = 'waiting', 'not_credited',
        state = 'credited' AND r.group_outcome != 'train', r.group_outcome,
        '') AS reason,
    r.attempts AS attempts, r.attempt AS attempt, r.status AS status, r.complete AS complete,
    r.calls AS calls, r.tools AS tools, r.prompt_tokens AS prompt_tokens,
    r.completion_tokens AS completion_tokens, r.version_min AS version_min,
    r.version_max AS version_max, r.reward AS reward,
    if(r.group_state = 'final', r.advantage, NULL) AS advantage, r.signals AS signals,
    r.task_input AS task_input, r.expected AS expected
FROM (
    SELECT
        i.project AS project, i.rollout_id AS rollout_id,
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
        e.signals AS signals, e.group_state AS group_state, e.group_outcome AS group_outcome,
        e.credited AS credited, e.reward AS reward, e.advantage AS advantage,
        if(t.rollout_id = '', e.task_input, t.input) AS task_input,
        if(t.rollout_id = '', e.expected, t.expected) AS expected
    FROM (
        SELECT project, rollout_id FROM tasks
        UNION DISTINCT
        SELECT project, rollout_id FROM episodes
    ) AS i
    LEFT JOIN (SELECT * FROM tasks FINAL) AS t
        ON t.project = i.project AND t.rollout_id = i.rollout_id
    LEFT JOIN (
        SELECT e.*, m.state AS group_state, m.outcome AS group_outcome, m.log_last AS credited,
            m.reward AS reward, m.advantage AS advantage,
            count() OVER (PARTITION BY e.project, e.rollout_id) AS attempts
        FROM (SELECT * FROM episodes FINAL) AS e
        LEFT JOIN (
            SELECT project, toString(state) AS state, outcome, log_last,
                m.rollout_id AS rollout_id, m.attempt AS attempt, m.status AS status,
                m.reward AS reward, m.advantage AS advantage
            FROM (
                SELECT project, state, outcome, log_last, arrayJoin(members) AS m FROM current_groups
            )
        ) AS m ON m.project = e.project AND m.rollout_id = e.rollout_id AND m.attempt = e.attempt
        QUALIFY row_number() OVER (
            PARTITION BY e.project, e.rollout_id
            ORDER BY m.status = 'used' DESC, e.log_first DESC, e.attempt DESC
        ) = 1
    ) AS e ON e.project = i.project AND e.rollout_id = i.rollout_id
) AS r
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

ALTER TABLE rollouts
    COMMENT COLUMN project 'project that it belongs to',
    COMMENT COLUMN rollout_id 'rollout: one request to run an agent on a task',
    COMMENT COLUMN policy 'policy',
    COMMENT COLUMN split 'train or eval',
    COMMENT COLUMN group_id 'group of rollouts compared with each other',
    COMMENT COLUMN agent 'agent that its task names',
    COMMENT COLUMN pinned_version 'version that was asked for; null: whichever is served',
    COMMENT COLUMN asked_at 'log time of its task; null: none asked for it',
    COMMENT COLUMN started_at 'log time of its first span',
    COMMENT COLUMN ended_at 'log time of its last span, once it is closed',
    COMMENT COLUMN credited_at 'log time of its group''s newest record, once it is decided',
    COMMENT COLUMN decided_at 'log time at which the trainer''s decision was written',
    COMMENT COLUMN state 'asked, running, waiting, credited, trained, dropped or evaluated',
    COMMENT COLUMN reason 'why it does not move on, or was dropped',
    COMMENT COLUMN attempts 'attempts that were seen',
    COMMENT COLUMN attempt 'attempt that its group used, else the last one',
    COMMENT COLUMN status 'unset, ok or error',
    COMMENT COLUMN complete 'whether nothing of it is missing',
    COMMENT COLUMN calls 'model calls',
    COMMENT COLUMN tools 'tool executions',
    COMMENT COLUMN prompt_tokens 'tokens of the prompt',
    COMMENT COLUMN completion_tokens 'tokens that the model sampled',
    COMMENT COLUMN version_min 'oldest policy version among its tokens; -1: none',
    COMMENT COLUMN version_max 'newest policy version among its tokens; -1: none',
    COMMENT COLUMN reward 'reward of the episode; null: none',
    COMMENT COLUMN advantage 'advantage of its episode',
    COMMENT COLUMN signals 'errors and other signs, by name, with how often each was seen',
    COMMENT COLUMN task_input 'what the agent was asked to do',
    COMMENT COLUMN expected 'expected answer';
