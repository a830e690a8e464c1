SELECT table, max(max_block_number) AS newest FROM system.parts
WHERE database = currentDatabase() AND active GROUP BY table
