SELECT policy, split, state, reason, samples FROM drop_ledger
WHERE ({policy:String} = '' OR policy = {policy:String})
ORDER BY policy, split DESC, state DESC, samples DESC
