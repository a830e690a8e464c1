SELECT toString(fromUnixTimestamp64Milli(log_time, 'UTC')) AS newest, span_id, reward_name AS name,
       reward_value AS value, reward_source AS source, reward_target AS call,
       ifNull({spans:UInt32} >= spans_then AND credited >= {version:UInt64}, false) AS credited
FROM (
    SELECT span_id, kind, log_time, reward_name, reward_value, reward_source, reward_target,
           count() OVER (ORDER BY offset) AS spans_then,
           (SELECT max(m.episode_version) FROM (
                SELECT arrayJoin(members) AS m FROM groups FINAL
                WHERE project = {project:String} AND group_id = {group:String} AND state = 'final'
            ) WHERE m.rollout_id = {rollout:String} AND m.attempt = {attempt:String}) AS credited
    FROM spans FINAL
    WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
)
WHERE kind = 'reward' ORDER BY log_time DESC, span_id LIMIT 200
