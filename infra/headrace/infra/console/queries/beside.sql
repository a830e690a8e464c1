SELECT 'newer' AS side, rollout_id, attempt FROM (
    SELECT rollout_id, attempt FROM episodes FINAL
    WHERE project = {project:String} AND ({policy:String} = '' OR policy = {policy:String})
      AND ({version:String} = '' OR toString(version_max) = {version:String})
      AND ({split:String} = '' OR split = {split:String})
      AND ({state:String} = '' OR state = {state:String})
      AND ({status:String} = '' OR status = {status:String})
      AND ({signal:String} = '' OR mapContains(signals, {signal:String}))
      AND (log_last, rollout_id, attempt) > ({at:Int64}, {rollout:String}, {attempt:String})
    ORDER BY log_last, rollout_id, attempt LIMIT 1
)
UNION ALL
SELECT 'older' AS side, rollout_id, attempt FROM (
    SELECT rollout_id, attempt FROM episodes FINAL
    WHERE project = {project:String} AND ({policy:String} = '' OR policy = {policy:String})
      AND ({version:String} = '' OR toString(version_max) = {version:String})
      AND ({split:String} = '' OR split = {split:String})
      AND ({state:String} = '' OR state = {state:String})
      AND ({status:String} = '' OR status = {status:String})
      AND ({signal:String} = '' OR mapContains(signals, {signal:String}))
      AND (log_last, rollout_id, attempt) < ({at:Int64}, {rollout:String}, {attempt:String})
    ORDER BY log_last DESC, rollout_id DESC, attempt DESC LIMIT 1
)
