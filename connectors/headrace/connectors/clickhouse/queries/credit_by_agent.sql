-- What credit the calls of each agent got, by the version that sampled them, and what became of
-- them. `share_of_weight` is the agent's part of advantage times tokens, without signs.
SELECT version, agent, samples, episodes, trained, dropped,
       round(mean_advantage, 3) AS mean_advantage, round(share_of_weight, 3) AS share_of_weight
FROM credit_by_agent WHERE split = 'train' ORDER BY policy, version, agent
