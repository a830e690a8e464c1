-- Rollouts by where they are, and whether all that were asked for (or came unasked) are accounted
-- for: the sum over states is the number of rollouts, and nothing was decided twice.
SELECT policy, split, asked, unasked, not_started, running, waiting, credited, trained, dropped,
       evaluated, balanced
FROM ledger_balance ORDER BY policy, split
