SELECT stage, topic, partition, newest.1 AS reason, newest.2 AS detail, newest.3 AS first_offset,
       concat('headrace resume ', topic, '/', toString(partition)) AS command
FROM (
    SELECT stage, topic, partition, argMax(toString(state), offset) AS last,
        argMax((toString(reason), detail, first_offset), offset) AS newest
    FROM halts FINAL GROUP BY stage, consumer_group, topic, partition
)
WHERE last = 'halted' ORDER BY topic, partition
