"""Spans to episodes: columns, sets and snapshots (design §5).

`columns`, `core` and `build` are pure; `stage` is the shell that drives them.
"""
