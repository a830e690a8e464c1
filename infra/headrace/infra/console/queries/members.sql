WITH member AS (
    SELECT project, arrayJoin(members) AS m FROM groups FINAL
    WHERE project = {project:String} AND group_id = {group:String}
      AND rule = {rule:String} AND credit = {credit:String}
)
SELECT member.project AS project, m.rollout_id AS rollout_id, m.attempt AS attempt, m.status AS status,
       round(m.reward, 4) AS reward, round(m.advantage, 4) AS advantage, m.version_max AS version,
       m.calls AS calls, m.reward_detail AS detail, concat(substringUTF8(e.result, 1, 400), if(lengthUTF8(e.result) > 400, '…', '')) AS result
FROM member
LEFT JOIN (
    SELECT project, rollout_id, attempt, result FROM episodes FINAL
    WHERE project = {project:String} AND rollout_id IN (SELECT m.rollout_id FROM member)
) AS e ON e.project = member.project AND e.rollout_id = m.rollout_id AND e.attempt = m.attempt
ORDER BY reward DESC NULLS LAST, rollout_id LIMIT 500
