-- One row per episode of a decided group and rule: its reward and its advantage. `status` says in
-- one word why an episode is left out (`rule_error`, …), `detail` what exactly.
SELECT group_id, outcome, rollout_id, reward, round(advantage, 3) AS advantage
FROM credits ORDER BY group_id, rollout_id LIMIT 16
