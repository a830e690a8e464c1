WITH page AS (
    SELECT project, rollout_id, attempt, group_id, policy, split, state, status, complete, calls,
           tools, prompt_tokens, completion_tokens, version_min, version_max, log_last,
           toString(fromUnixTimestamp64Milli(log_last, 'UTC')) AS newest,
           JSONExtractKeysAndValues(task_input, 'String') AS texts,
           if(length(texts) = 1, texts[1].2, task_input) AS asked,
           substringUTF8(asked, 1, 120) AS task, lengthUTF8(asked) AS task_characters
    FROM episodes FINAL
    WHERE ({policy:String} = '' OR policy = {policy:String})
      AND ({version:String} = '' OR toString(version_max) = {version:String})
      AND ({split:String} = '' OR split = {split:String})
      AND ({state:String} = '' OR state = {state:String})
      AND ({status:String} = '' OR status = {status:String})
      AND ({signal:String} = '' OR mapContains(signals, {signal:String}))
      AND (log_last, rollout_id, attempt) < ({at:Int64}, {rollout:String}, {attempt:String})
    ORDER BY log_last DESC, rollout_id DESC, attempt DESC
    LIMIT {limit:UInt32}
)
SELECT page.* EXCEPT (texts, asked), c.reward AS reward, c.advantage AS advantage
FROM page
LEFT JOIN (
    SELECT project, m.rollout_id AS rollout_id, m.attempt AS attempt,
           argMax(round(m.reward, 4), log_last) AS reward,
           argMax(toNullable(round(m.advantage, 4)), log_last) AS advantage
    FROM (
        SELECT project, log_last, arrayJoin(members) AS m FROM current_groups
        WHERE (project, group_id) IN (SELECT project, group_id FROM page)
    )
    GROUP BY project, rollout_id, attempt
) AS c ON c.project = page.project AND c.rollout_id = page.rollout_id AND c.attempt = page.attempt
ORDER BY page.log_last DESC, page.rollout_id DESC, page.attempt DESC
SETTINGS join_use_nulls = 1
