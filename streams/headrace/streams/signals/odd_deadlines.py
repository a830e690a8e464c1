"""Deadlines that are no time."""

from headrace.schemas.deadline import is_time
from headrace.streams.signals.take import Seen


def odd_deadlines(episode: Seen) -> int:
    """1 where the start's deadline is no time in milliseconds near that of the log."""
    return int(episode.deadline != 0 and not is_time(episode.deadline, episode.log_first))
