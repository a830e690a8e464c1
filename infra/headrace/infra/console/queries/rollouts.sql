SELECT toString(fromUnixTimestamp64Milli(at, 'UTC')) AS newest, project, rollout_id, attempt, group_id,
       policy, split, agent, state, reason, attempts, version_min, version_max, calls, reward, advantage,
       substringUTF8(asked, 1, 120) AS task, lengthUTF8(asked) AS task_characters, at
FROM (
    SELECT project, rollout_id, attempt, group_id, policy, split, agent, state, reason, attempts,
           version_min, version_max, calls, round(reward, 4) AS reward, round(advantage, 4) AS advantage,
           ifNull(toUnixTimestamp64Milli(coalesce(asked_at, started_at)), 0) AS at,
           JSONExtractKeysAndValues(task_input, 'String') AS texts,
           if(length(texts) = 1, texts[1].2, task_input) AS asked
    FROM rollouts
    WHERE ({policy:String} = '' OR policy = {policy:String})
      AND ({version:String} = '' OR toString(version_max) = {version:String})
      AND ({split:String} = '' OR split = {split:String})
      AND ({agent:String} = '' OR agent = {agent:String})
      AND ({state:String} = '' OR state = {state:String})
      AND ({reason:String} = '' OR reason = {reason:String})
      AND ({signal:String} = '' OR mapContains(signals, {signal:String}))
      AND (at, rollout_id) < ({at:Int64}, {rollout:String})
      -- Where tasks alone say what is shown, no more of them are looked at; nor of what was not asked for.
      AND ({version:String} != '' OR {state:String} != '' OR {reason:String} != '' OR {signal:String} != ''
           OR (project, rollout_id) IN (
        SELECT project, rollout_id FROM (
            SELECT project, rollout_id FROM tasks FINAL
            WHERE ({policy:String} = '' OR policy = {policy:String})
              AND ({split:String} = '' OR split = {split:String})
              AND ({agent:String} = '' OR agent = {agent:String})
              AND (log_time, rollout_id) < ({at:Int64}, {rollout:String})
            ORDER BY log_time DESC, rollout_id DESC LIMIT {limit:UInt32}
        )
        UNION ALL
        SELECT project, rollout_id FROM episodes
        WHERE (project, rollout_id) NOT IN (SELECT project, rollout_id FROM tasks)
      ))
    ORDER BY at DESC, rollout_id DESC
    LIMIT {limit:UInt32}
)
ORDER BY at DESC, rollout_id DESC
