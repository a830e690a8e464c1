-- One row per sample that a version was trained on, with the reward and advantage used then,
-- beside those of now. `revised`: they are not the same any more.
SELECT version, group_id, rollout_id, agent, tokens, round(reward_used, 3) AS reward_used,
       round(reward_now, 3) AS reward_now, round(advantage_used, 3) AS advantage_used,
       round(advantage_now, 3) AS advantage_now, revised
FROM lineage ORDER BY policy, version DESC, group_id, rollout_id LIMIT 20
