SELECT toString(fromUnixTimestamp64Milli(log_time, 'UTC')) AS newest, span_id, reward_name AS name,
       reward_value AS value, reward_source AS source, reward_target AS call,
       ifNull(episode.1 >= spans_then AND credited >= episode.2, false) AS credited
FROM (
    SELECT span_id, kind, log_time, reward_name, reward_value, reward_source, reward_target,
           count() OVER (ORDER BY offset) AS spans_then,
           (SELECT (n_spans, version) FROM episodes FINAL
            WHERE project = {project:String} AND rollout_id = {rollout:String}
              AND attempt = {attempt:String}) AS episode,
           (SELECT max(m.episode_version) FROM (
                SELECT arrayJoin(members) AS m FROM groups FINAL
                WHERE project = {project:String} AND state = 'final' AND group_id IN (
                    SELECT group_id FROM episodes WHERE project = {project:String}
                      AND rollout_id = {rollout:String} AND attempt = {attempt:String})
            ) WHERE m.rollout_id = {rollout:String} AND m.attempt = {attempt:String}) AS credited
    FROM spans FINAL
    WHERE project = {project:String} AND rollout_id = {rollout:String} AND attempt = {attempt:String}
)
WHERE kind = 'reward' ORDER BY log_time DESC, span_id LIMIT 200
