-- The rows of the table `groups`, of each group the one under the rule and method that the stage
-- changed to last.
SELECT outcome, count() AS groups, avg(length(members)) AS members, avg(std) AS std
FROM current_groups WHERE state = 'final' GROUP BY outcome ORDER BY outcome
