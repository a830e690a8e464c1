"""Signals: counts per episode of what went wrong or looks odd. Inputs of reward rules, and columns.

A signal is a function of a take's columns, or of one episode, in a file of its own. To add one:
write the function, name it in `registry.SIGNALS`, and describe it in `docs/rewards.md`; the
Episode, the table `episodes` and the rules then have it, where it is not 0. A signal is a function
of the episode's spans alone, so that a version never has two contents.
"""

from headrace.streams.signals.registry import SIGNALS, read_signals
from headrace.streams.signals.take import Seen, Signal, Take, each

__all__ = ["SIGNALS", "Seen", "Signal", "Take", "each", "read_signals"]
