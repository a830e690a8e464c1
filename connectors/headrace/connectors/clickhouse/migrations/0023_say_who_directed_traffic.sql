-- Who said which version is served, and why: a person, or the guard that judges new versions.
ALTER TABLE traffic
    ADD COLUMN IF NOT EXISTS said_by LowCardinality(String) DEFAULT '' AFTER log_time,
    ADD COLUMN IF NOT EXISTS why String DEFAULT '' AFTER said_by,
    ADD COLUMN IF NOT EXISTS judged Int32 DEFAULT -1 AFTER why;

ALTER TABLE traffic
    COMMENT COLUMN said_by 'who said it: user or guard; empty: not known',
    COMMENT COLUMN why 'why it was said',
    COMMENT COLUMN judged 'newest version that a guard has promoted or rolled back; -1: none';
