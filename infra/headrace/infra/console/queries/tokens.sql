SELECT span_id, groupArray((token_id, bytes_hex, logprob, version, advantage, trainer_logprob, gap,
                            entropy, masked)) AS tokens
FROM (
SELECT t.*, hex(v.bytes) AS bytes_hex
FROM (
    SELECT t.span_id AS span_id, t.policy AS policy, position, token_id,
           if(position > length(logprobs), NULL, logprobs[position]) AS logprob,
           if(position > length(versions), NULL, toInt32(versions[position])) AS version,
           if(s.span_id = '', NULL, s.advantage * if(empty(weights), 1, weights[position])) AS advantage,
           if(position > length(seen_logprobs), NULL, seen_logprobs[position]) AS trainer_logprob,
           trainer_logprob - logprob AS gap,
           if(position > length(entropies), NULL, entropies[position]) AS entropy,
           if(position > length(masks), NULL, masks[position] != 0) AS masked
    FROM (
        SELECT span_id, policy, arraySlice(sampled_ids, 1, {most:UInt32}) AS ids, logprobs,
               arrayFlatten(arrayMap((v, n) -> arrayWithConstant(n, v), run_versions, run_lengths))
                   AS versions
        FROM spans FINAL
        WHERE project = {project:String} AND rollout_id = {rollout:String}
          AND attempt = {attempt:String} AND kind = 'call' AND span_id IN {calls:Array(String)}
    ) AS t
    LEFT JOIN (
        SELECT splitByChar('/', s.sample_id)[3] AS span_id, s.advantage AS advantage,
               s.token_weights AS weights
        FROM (
            SELECT samples FROM groups FINAL
            LEFT JOIN (
                SELECT rule, credit, max(number) AS number FROM rule_changes GROUP BY rule, credit
            ) AS changes USING (rule, credit)
            WHERE project = {project:String} AND group_id = {group:String}
            ORDER BY number DESC, log_first DESC, rule DESC, credit DESC LIMIT 1
        )
        ARRAY JOIN samples AS s
        WHERE s.rollout_id = {rollout:String} AND s.attempt = {attempt:String}
    ) AS s ON s.span_id = t.span_id
    LEFT JOIN (
        SELECT splitByChar('/', sample_id)[3] AS span_id, token_logprobs AS seen_logprobs,
               token_entropies AS entropies, token_masked AS masks
        FROM outcomes FINAL
        WHERE project = {project:String} AND rollout_id = {rollout:String}
          AND attempt = {attempt:String} AND outcome = 'trained'
          AND (policy, trainer) IN (
              SELECT policy, argMax(trainer, version) FROM policies FINAL GROUP BY policy)
    ) AS d ON d.span_id = t.span_id
    ARRAY JOIN ids AS token_id, arrayEnumerate(ids) AS position
) AS t
LEFT JOIN (SELECT policy, token_id, bytes FROM vocabulary FINAL) AS v
    ON v.policy = t.policy AND v.token_id = t.token_id
ORDER BY span_id, position
)
GROUP BY span_id ORDER BY span_id
