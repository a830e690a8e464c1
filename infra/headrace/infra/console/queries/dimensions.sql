SELECT policy, split, pair.1 AS name, m.version_min AS version, count() AS episodes,
       round(avg(pair.2), 4) AS mean, round(stddevSamp(pair.2), 4) AS deviation,
       round(min(pair.2), 4) AS least, round(max(pair.2), 4) AS most
FROM (
    SELECT policy, split, m, arrayJoin(arrayConcat([(toString(rule), m.reward)],
        arrayMap(d -> (d.name, toNullable(d.value)), m.dimensions))) AS pair
    FROM (
        SELECT policy, split, rule, arrayJoin(members) AS m FROM groups FINAL
        WHERE state = 'final' AND ({policy:String} = '' OR policy = {policy:String})
          AND (project, policy, toString(rule), toString(credit)) IN (
              SELECT project, policy, rule, credit FROM current_rules)
    )
    WHERE m.status = 'used' AND m.version_min >= 0
)
WHERE pair.2 IS NOT NULL
GROUP BY policy, split, name, version
ORDER BY policy, split DESC, name, version LIMIT 5000
