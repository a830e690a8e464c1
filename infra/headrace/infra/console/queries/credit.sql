SELECT s.sample_id AS sample_id, s.agent AS agent, round(s.advantage, 4) AS advantage,
       s.trainable AS trainable, s.reason AS reason, s.tokens AS tokens, rule, credit
FROM (
    SELECT rule, credit, samples FROM groups FINAL
    LEFT JOIN (
        SELECT rule, credit, max(number) AS number FROM rule_changes GROUP BY rule, credit
    ) AS changes USING (rule, credit)
    WHERE project = {project:String} AND group_id = {group:String}
    ORDER BY number DESC, log_first DESC, rule DESC, credit DESC LIMIT 1
)
ARRAY JOIN samples AS s
WHERE s.rollout_id = {rollout:String} AND s.attempt = {attempt:String}
ORDER BY sample_id LIMIT 1000
