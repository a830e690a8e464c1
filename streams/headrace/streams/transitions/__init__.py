"""Transitions: calls and tool executions as (state, action, reward, next state), for any trainer.

The view `transitions` of ClickHouse says what they are; `read` brings them as Arrow batches, whole
logs of them in bounded memory.
"""

from headrace.streams.transitions.read import COLUMNS, TOKENS, Wanted, count, read

__all__ = ["COLUMNS", "TOKENS", "Wanted", "count", "read"]
