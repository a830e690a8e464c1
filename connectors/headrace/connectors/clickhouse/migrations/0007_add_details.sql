-- Why, in one word to count by (`reason`), and what exactly, for a person (`detail`). Reasons of
-- rewards held both, with a colon between them: those that are stored are taken apart.
-- `observed` is what a call method notes of a call beyond the common facts.
ALTER TABLE groups MODIFY COLUMN IF EXISTS members Array(Tuple(
    rollout_id String, attempt String, episode_version UInt64, status String,
    reward Nullable(Float64), reward_reason String, reward_detail String, advantage Float64,
    calls UInt32, log_time Int64, complete Bool, closed_status String,
    version_min Int32, version_max Int32)) SETTINGS alter_sync = 1;

ALTER TABLE groups MODIFY COLUMN IF EXISTS samples Array(Tuple(
    sample_id String, rollout_id String, attempt String, agent String, advantage Float64,
    trainable Bool, reason String, call_reason String, version_min Int32, version_max Int32,
    tokens UInt32, observed String)) SETTINGS alter_sync = 1;

ALTER TABLE groups UPDATE members = arrayMap(
    m -> (
        tupleElement(m, 'rollout_id'), tupleElement(m, 'attempt'),
        tupleElement(m, 'episode_version'), tupleElement(m, 'status'), tupleElement(m, 'reward'),
        substringIndex(tupleElement(m, 'reward_reason'), ':', 1),
        if(position(tupleElement(m, 'reward_reason'), ':') = 0, tupleElement(m, 'reward_detail'),
            trimLeft(substring(tupleElement(m, 'reward_reason'),
                position(tupleElement(m, 'reward_reason'), ':') + 1))),
        tupleElement(m, 'advantage'), tupleElement(m, 'calls'), tupleElement(m, 'log_time'),
        tupleElement(m, 'complete'), tupleElement(m, 'closed_status'),
        tupleElement(m, 'version_min'), tupleElement(m, 'version_max')
    ),
    members
)
WHERE arrayExists(m -> position(tupleElement(m, 'reward_reason'), ':') > 0, members)
SETTINGS mutations_sync = 1;

ALTER TABLE outcomes ADD COLUMN IF NOT EXISTS detail String AFTER reason;

ALTER TABLE drops ADD COLUMN IF NOT EXISTS detail String AFTER reason;

CREATE OR REPLACE VIEW credits AS
SELECT
    project, group_id, rule, credit, version, policy, split, outcome, baseline, mean, std,
    m.rollout_id AS rollout_id, m.attempt AS attempt, m.status AS status, m.reward AS reward,
    m.advantage AS advantage, m.calls AS calls, m.reward_detail AS detail
FROM (SELECT *, arrayJoin(members) AS m FROM groups FINAL WHERE state = 'final');
