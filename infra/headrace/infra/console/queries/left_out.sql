SELECT policy, status, concat(substringUTF8(detail, 1, 300), if(lengthUTF8(detail) > 300, '…', '')) AS detail, count() AS episodes,
       any(project) AS project, any(rollout_id) AS rollout_id, any(attempt) AS attempt
FROM credits WHERE status != 'used' AND ({policy:String} = '' OR policy = {policy:String})
GROUP BY policy, status, detail ORDER BY episodes DESC LIMIT 50
