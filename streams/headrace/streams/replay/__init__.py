"""Replay: rewards and credit of past episodes again, under other rules, beside the live ones.

Reads `headrace.episodes`, which is what the live stage read, in the same order and with the same
log times, and drives the same cores; results go into the table `replays`, under the names of their
rule and credit method. Nothing that is live is written: neither its rows nor its offsets.

Pure: `names`. Shells: `extent`, `run`, `compare`, `publish`.
"""

from headrace.streams.replay.compare import Comparison, Query, compare, queries
from headrace.streams.replay.errors import ChangedRule, NothingToReplay, ReplayError
from headrace.streams.replay.names import Names
from headrace.streams.replay.publish import publish
from headrace.streams.replay.run import Replayed, replay

__all__ = [
    "ChangedRule",
    "Comparison",
    "Names",
    "NothingToReplay",
    "Query",
    "ReplayError",
    "Replayed",
    "compare",
    "publish",
    "queries",
    "replay",
]
