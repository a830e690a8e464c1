"""Hosts of a stage: takes, acknowledgements, guard, ticks and heartbeat.

`faust` for topics of single writers; `committed` for those that are written in transactions;
`config` what a worker of either can be told.
"""
