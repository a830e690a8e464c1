-- What the rollouts of a version have cost that have a reward of at least the threshold, those that
-- failed paid for too. Prices stand in the table `prices`, from a time on, by policy (or by model,
-- where a call has no policy); without a price the cost is null.
-- param threshold Float64 = 1.0
SELECT policy, split, version, episodes, solved, round(solved_share, 3) AS solved_share,
       cost_per_episode, cost_per_solved, unpriced_calls
FROM cost_per_solved(threshold = {threshold:Float64}) ORDER BY policy, split, version
