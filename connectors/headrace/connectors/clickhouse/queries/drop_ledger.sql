-- What became of every sample: trained, dropped with a reason, or pending.
SELECT policy, split, state, reason, samples FROM drop_ledger ORDER BY policy, split, state, reason
