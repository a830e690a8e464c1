"""Rewards that spans aimed at calls. Pure."""

import math
from collections.abc import Mapping

from headrace.schemas import Episode, ids

POTENTIAL, VALUE = "potential", "value"
"""Names of rewards that are none: how far a call brought the task (`potential`), and what a critic
expects from its state on (`value`). Credit methods of their own read them."""


def own_target(episode: Episode) -> set[str]:
    """The targets by which a reward is the episode's."""
    return {"", ids.episode_id(episode.rollout_id, episode.attempt)}


def aimed_at_calls(episode: Episode) -> list[dict[str, float]]:
    """For each call what rewards aimed at it, by name; the last in the log counts, NaN none.

    A call is named by its span, by its response, or by its call id.
    """
    of_calls: list[dict[str, float]] = [{} for _ in episode.calls]
    if not any(reward.target for reward in episode.rewards):
        return of_calls
    named: dict[str, dict[str, float]] = {}
    for call, given in zip(episode.calls, of_calls, strict=True):
        call_id = ids.call_id(episode.rollout_id, episode.attempt, call.span_id)
        named.update({name: given for name in (call.span_id, call.response_id, call_id) if name})
    for reward in episode.rewards:
        if math.isfinite(reward.value) and reward.target in named:
            named[reward.target][reward.name] = reward.value
    return of_calls


def rewards_of_calls(episode: Episode, weights: Mapping[str, float]) -> list[float | None]:
    """Σ weight·value of what was aimed at each call; None for a call that got nothing.

    Without weights every name counts once, `potential` and `value` apart.
    """

    if not any(reward.target for reward in episode.rewards):
        return [None] * len(episode.calls)

    def weight(name: str) -> float | None:
        return weights.get(name) if weights else None if name in (POTENTIAL, VALUE) else 1.0

    found: list[float | None] = []
    for given in aimed_at_calls(episode):
        parts = [(w, value) for name, value in given.items() if (w := weight(name)) is not None]
        found.append(sum(w * value for w, value in parts) if parts else None)
    return found
