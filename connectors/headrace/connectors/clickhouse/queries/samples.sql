-- One row per credited call; the unit that is trained or dropped. Its credit is that of the rule
-- and method that the stage changed to last, of those that its group has.
SELECT agent, trainable, reason, count() AS samples FROM samples GROUP BY agent, trainable, reason
