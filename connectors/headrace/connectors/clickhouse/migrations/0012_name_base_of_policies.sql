-- Which weights a policy began from, by their content.
ALTER TABLE policies ADD COLUMN IF NOT EXISTS base_hash String AFTER base_model;
