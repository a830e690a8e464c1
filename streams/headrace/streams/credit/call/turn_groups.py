"""Per-turn groups (MT-GRPO, arXiv 2505.11821). Pure."""

import numpy as np

from headrace.streams.credit.call.contract import (
    Array,
    CallMethod,
    CreditedEpisode,
    CreditedGroup,
)
from headrace.streams.credit.call.turns import against_each_other, turns
from headrace.streams.credit.methods import within, written

MOST = 1e6


def turn_groups(outcome: float = 1.0) -> CallMethod:
    """A_k = Â_turn + outcome·A for every call but the last, whose advantage is the episode's, A.

    Â_turn is the group's baseline of the rewards aimed at the calls of the same agent's same turn.
    A call without a reward of its own, or alone at its turn, has none.
    Raises UnknownMethod unless 0 ≤ outcome.
    """
    within("outcome", outcome, 0, MOST, zero=True)

    def advantages(group: CreditedGroup) -> list[Array]:
        keys = [_turns_with_reward(episode) for episode in group.episodes]
        rewards = [
            np.array([call.reward or 0.0 for call in episode.calls]) for episode in group.episodes
        ]
        compared = against_each_other(group, keys, rewards)
        found = []
        for episode, of_turns in zip(group.episodes, compared, strict=True):
            weights = np.full(len(episode.calls), outcome)
            weights[-1:] = 1.0
            found.append(np.nan_to_num(of_turns, nan=0.0) + episode.spread(weights))
        return found

    return CallMethod(name=written("turn_groups", outcome), advantages=advantages)


def _turns_with_reward(episode: CreditedEpisode) -> list[tuple[str, int] | None]:
    """The turn of each call but the last that has a reward of its own."""
    last = len(episode.calls) - 1
    return [
        turn if call.reward is not None and k < last else None
        for k, (turn, call) in enumerate(zip(turns(episode.calls), episode.calls, strict=True))
    ]
