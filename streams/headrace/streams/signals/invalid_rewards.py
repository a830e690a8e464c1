"""Rewards that are no numbers."""

import math

from headrace.streams.signals.take import Seen


def invalid_rewards(episode: Seen) -> int:
    """Rewards that are not finite."""
    return sum(not math.isfinite(reward.value) for reward in episode.rewards)
