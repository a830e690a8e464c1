-- From when to when a policy's name stood for a version: the one that its traffic names, else the
-- newest. Shares that get another version are in the table `traffic`.
SELECT policy, version, served_from, served_to FROM served ORDER BY policy, served_from
