-- What the KL of a version was taken to: a name, and the hash of its weights.
ALTER TABLE policies ADD COLUMN IF NOT EXISTS reference String AFTER base_hash;
