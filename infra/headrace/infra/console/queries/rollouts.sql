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
    ORDER BY at DESC, rollout_id DESC
    LIMIT {limit:UInt32}
)
ORDER BY at DESC, rollout_id DESC
