"""Spans to episodes: columns, sets and snapshots; the rules are in docs/design.md.

`columns`, `core` and `build` are pure; `stage` is the shell that drives them.
"""
