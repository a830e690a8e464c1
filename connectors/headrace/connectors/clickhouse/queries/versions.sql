-- One row per policy version: what made it, what it was trained on, how it does, and when the
-- policy's name stood for it (`served_to` is null while it does).
SELECT version, parent, episodes, samples, round(train_reward, 3) AS train_reward,
       round(eval_reward, 3) AS eval_reward, round(logp_gap, 4) AS logp_gap, dropped,
       served_from, served_to
FROM versions ORDER BY policy, version
