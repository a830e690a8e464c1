-- Which policy answered each call: in one episode several may, and each is trained by its own.
ALTER TABLE groups MODIFY COLUMN IF EXISTS samples Array(Tuple(
    sample_id String, rollout_id String, attempt String, agent String, policy String,
    advantage Float64, trainable Bool, reason String, call_reason String, version_min Int32,
    version_max Int32, tokens UInt32, reward Nullable(Float64), observed String))
    SETTINGS alter_sync = 1;

CREATE OR REPLACE VIEW samples AS
SELECT
    project, group_id, rule, credit, policy, split, outcome AS group_outcome,
    s.sample_id AS sample_id, s.rollout_id AS rollout_id, s.attempt AS attempt, s.agent AS agent,
    s.advantage AS advantage, s.trainable AS trainable, s.reason AS reason,
    s.version_min AS version_min, s.version_max AS version_max, s.tokens AS tokens,
    s.reward AS reward, s.policy AS answered_by
FROM (SELECT *, arrayJoin(samples) AS s FROM groups FINAL);

-- A decided sample is its trainer's policy's, else that of its tasks.
CREATE OR REPLACE VIEW drop_ledger AS
SELECT
    s.project AS project, if(o.policy = '', s.policy, o.policy) AS policy, s.split AS split,
    multiIf(o.outcome = '', 'pending', o.outcome) AS state,
    multiIf(o.outcome = 'dropped', o.reason, '') AS reason, count() AS samples
FROM (SELECT project, policy, split, sample_id FROM samples) AS s
LEFT JOIN (
    SELECT
        t.project AS project, t.sample_id AS sample_id, t.outcome AS outcome, t.reason AS reason,
        t.policy AS policy
    FROM (
        SELECT * FROM outcomes FINAL
        WHERE sample_id != '' AND outcome IN ('trained', 'dropped')
    ) AS t
    INNER JOIN (
        SELECT policy, argMax(trainer, version) AS trainer FROM policies FINAL GROUP BY policy
    ) AS p ON p.policy = t.policy AND p.trainer = t.trainer
) AS o ON o.project = s.project AND o.sample_id = s.sample_id
GROUP BY project, policy, split, state, reason;
