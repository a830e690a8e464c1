SELECT project, policy, split, state, reason, samples
FROM drop_ledger ORDER BY project, policy, split, state, reason
