-- Every reward: given by a span, by a rule, or one of the dimensions that a rule weighed. It holds
-- every rule that ever gave one; `reward_dimensions` holds the current one.
SELECT origin, name, count() AS rewards, avg(value) AS mean FROM rewards GROUP BY origin, name
