WITH answered AS (
    SELECT e.project AS project, e.task_input AS task_input,
           if(t.version >= 0, t.version, e.version_max) AS version, any(e.expected) AS expected,
           argMax(c.reward, e.log_last) AS reward, argMax(e.rollout_id, e.log_last) AS rollout,
           argMax(e.attempt, e.log_last) AS attempt, argMax(e.result, e.log_last) AS result
    FROM (
        SELECT project, rollout_id, attempt, task_input, expected, result, version_max, log_last
        FROM episodes FINAL
        WHERE policy = {policy:String} AND split = {split:String} AND state = 'closed'
    ) AS e
    INNER JOIN (
        SELECT project, m.rollout_id AS rollout_id, m.attempt AS attempt, m.reward AS reward
        FROM (
            SELECT project, arrayJoin(members) AS m FROM (
                SELECT project, group_id, state, members FROM groups FINAL
                LEFT JOIN (
                    SELECT rule, credit, max(number) AS number FROM rule_changes GROUP BY rule, credit
                ) AS changes USING (rule, credit)
                WHERE policy = {policy:String} AND split = {split:String}
                ORDER BY number DESC, log_first DESC, rule DESC, credit DESC
                LIMIT 1 BY project, group_id
            )
            WHERE state = 'final'
        )
        WHERE m.status = 'used' AND m.reward IS NOT NULL
    ) AS c ON c.project = e.project AND c.rollout_id = e.rollout_id AND c.attempt = e.attempt
    LEFT JOIN (
        SELECT project, rollout_id, toNullable(version) AS version FROM tasks FINAL WHERE version >= 0
    ) AS t ON t.project = e.project AND t.rollout_id = e.rollout_id
    WHERE version IN ({a:Int32}, {b:Int32})
    GROUP BY project, task_input, version
)
SELECT a.project AS project, JSONExtractKeysAndValues(a.task_input, 'String') AS texts,
       substringUTF8(if(length(texts) = 1, texts[1].2, a.task_input), 1, 400) AS task,
       lengthUTF8(if(length(texts) = 1, texts[1].2, a.task_input)) AS task_characters, a.expected AS expected,
       round(a.reward, 4) AS reward_a, round(b.reward, 4) AS reward_b,
       multiIf(a.reward < {solved:Float64} AND b.reward >= {solved:Float64}, 'better',
               a.reward >= {solved:Float64} AND b.reward < {solved:Float64}, 'worse',
               a.reward >= {solved:Float64}, 'both right', 'both wrong') AS verdict,
       substringUTF8(a.result, 1, 1000) AS result_a, substringUTF8(b.result, 1, 1000) AS result_b,
       lengthUTF8(a.result) AS result_a_characters, lengthUTF8(b.result) AS result_b_characters,
       a.rollout AS rollout_a, a.attempt AS attempt_a, b.rollout AS rollout_b, b.attempt AS attempt_b
FROM (SELECT * FROM answered WHERE version = {a:Int32}) AS a
INNER JOIN (SELECT * FROM answered WHERE version = {b:Int32}) AS b
    ON a.project = b.project AND a.task_input = b.task_input
ORDER BY indexOf(['better', 'worse', 'both wrong', 'both right'], verdict), task, project
LIMIT 5000
