-- One row per LLM call, with the model's own tokens counted, the versions that sampled them, and
-- whether the call may be trained. `agent` and `parent_id` are those of the episode: where a
-- framework has a span of its own for a call of the gateway's, that span gives them.
SELECT policy, version_max AS version, count() AS calls, avg(completion_tokens) AS tokens,
       quantile(0.99)(milliseconds) AS p99_ms, countIf(NOT trainable) AS untrainable
FROM calls GROUP BY policy, version ORDER BY policy, version
