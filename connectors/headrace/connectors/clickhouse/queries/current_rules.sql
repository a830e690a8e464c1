-- The reward rule and credit method that each policy is credited by now: of the pairs that it has
-- credits by, the one that the credit stage changed to last (`rule_changes`). What an earlier pair
-- gave stays in `groups`.
SELECT policy, rule, credit, since FROM current_rules ORDER BY policy
