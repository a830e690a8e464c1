"""No start."""

from headrace.streams.signals.take import Seen


def no_start(episode: Seen) -> int:
    """1 where no `attempt.start` gave the group, the policy and the deadline."""
    return int(not episode.has_start)
