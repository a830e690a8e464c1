SELECT policy, split, round(floor(m.reward * 20) / 20, 2) AS reward_from, count() AS episodes
FROM (
    SELECT policy, split, arrayJoin(members) AS m FROM groups FINAL
    WHERE state = 'final' AND ({policy:String} = '' OR policy = {policy:String})
      AND (project, policy, toString(rule), toString(credit)) IN (
          SELECT project, policy, rule, credit FROM current_rules)
)
WHERE m.reward IS NOT NULL AND m.status = 'used'
GROUP BY policy, split, reward_from ORDER BY policy, split DESC, reward_from LIMIT 2000
