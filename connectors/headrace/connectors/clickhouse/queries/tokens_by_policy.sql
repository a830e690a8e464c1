-- Calls and tokens by the version that answered and the day (UTC): read, sampled, trained,
-- dropped, and seconds that calls took.
SELECT version, day, calls, prompt_tokens, completion_tokens, trained_tokens, dropped_tokens,
       round(call_seconds, 1) AS call_seconds
FROM tokens_by_policy ORDER BY policy, version, day
