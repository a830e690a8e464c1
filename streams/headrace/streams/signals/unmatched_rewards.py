"""Rewards that belong to nothing."""

from headrace.schemas import call_id, episode_id
from headrace.streams.signals.take import Seen


def unmatched_rewards(episode: Seen) -> int:
    """Rewards for a call that the episode does not have."""
    rollout_id, attempt = episode.rollout_id, episode.attempt
    targets = {"", episode_id(rollout_id, attempt)}
    for call in episode.calls:
        targets |= {call.span_id, call.response_id, call_id(rollout_id, attempt, call.span_id)}
    return sum(reward.target not in targets for reward in episode.rewards)
