-- Who said which version is served, and why: a person, or `headrace canary`, which judges new versions.
ALTER TABLE traffic
    ADD COLUMN IF NOT EXISTS said_by LowCardinality(String) DEFAULT '' AFTER log_time,
    ADD COLUMN IF NOT EXISTS why String DEFAULT '' AFTER said_by,
    ADD COLUMN IF NOT EXISTS judged Int32 DEFAULT -1 AFTER why;

ALTER TABLE traffic
    COMMENT COLUMN said_by 'who said it: user or canary; empty: not known',
    COMMENT COLUMN why 'why it was said',
    COMMENT COLUMN judged 'newest version that was promoted or rolled back after a trial; -1: none';
