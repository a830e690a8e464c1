-- By how many versions the samples of each training step lagged behind.
SELECT version, staleness, samples, round(share, 3) AS share
FROM staleness ORDER BY policy, version, staleness
