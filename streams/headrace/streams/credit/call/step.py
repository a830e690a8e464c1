"""Methods on what each call earned: returns from a call on, potentials, a critic's values. Pure."""

from collections.abc import Callable, Sequence

import numpy as np

from headrace.schemas import Episode
from headrace.streams.credit.call.contract import (
    Array,
    CallMethod,
    CreditedEpisode,
    CreditedGroup,
)
from headrace.streams.credit.call.rewards import call_rewards, returns_to_go, shaped, turn_gae
from headrace.streams.credit.call.turns import by_turn
from headrace.streams.credit.methods import within, written
from headrace.streams.reward.targets import POTENTIAL, VALUE, aimed_at_calls


def to_go(gamma: float = 1.0) -> CallMethod:
    """A_k: the return from call k on against the same turn of the group's other episodes.

    Rewards aimed at calls are theirs, the rest of the episode's reward is the last call's.
    Raises UnknownMethod unless 0 < gamma ≤ 1.
    """
    within("gamma", gamma, 0, 1)

    def advantages(group: CreditedGroup) -> list[Array]:
        returns = [returns_to_go(call_rewards(each), gamma) for each in group.episodes]
        return by_turn(group, returns)

    return CallMethod(name=written("to_go", gamma), advantages=advantages)


def by_potential(gamma: float = 1.0) -> CallMethod:
    """As `to_go` on rewards shaped by potentials: what a call did to the progress is its own.

    The potential of the state before a call is the last reward of the name `potential` that was
    aimed at an earlier call, 0 before the first.
    Raises UnknownMethod unless 0 < gamma ≤ 1.
    """
    within("gamma", gamma, 0, 1)

    def advantages(group: CreditedGroup) -> list[Array]:
        returns = [
            returns_to_go(shaped(call_rewards(each), _potentials(each), gamma), gamma)
            for each in group.episodes
        ]
        return by_turn(group, returns)

    return CallMethod(
        name=written("potential", gamma), advantages=advantages, observe=_observe(POTENTIAL)
    )


def by_value(gamma: float = 0.99, lam: float = 0.9) -> CallMethod:
    """Generalised advantage estimates over calls, from values that a critic gave.

    The value of the state before a call is the reward of the name `value` aimed at it. An episode
    that lacks one gives each call its advantage, as `uniform`.
    Raises UnknownMethod unless 0 < gamma ≤ 1 and 0 ≤ lam ≤ 1.
    """
    within("gamma", gamma, 0, 1)
    within("lam", lam, 0, 1, zero=True)

    def of(episode: CreditedEpisode) -> Array:
        values = _noted(episode)
        if np.isnan(values).any():
            return episode.spread(np.ones(len(episode.calls)))
        return turn_gae(call_rewards(episode), values, gamma, lam)

    return CallMethod(
        name=written("turn_gae", gamma, lam),
        advantages=lambda group: [of(each) for each in group.episodes],
        observe=_observe(VALUE),
    )


def _observe(name: str) -> Callable[[Episode], Sequence[str]]:
    def observe(episode: Episode) -> list[str]:
        given = (of_call.get(name) for of_call in aimed_at_calls(episode))
        return ["" if value is None else repr(value) for value in given]

    return observe


def _noted(episode: CreditedEpisode) -> Array:
    """What was observed of each call as a number; NaN where nothing was."""
    return np.array([float(call.observed or "nan") for call in episode.calls])


def _potentials(episode: CreditedEpisode) -> Array:
    """Of the state before each call, float64 [calls]."""
    before, last = [], 0.0
    for told in _noted(episode).tolist():
        before.append(last)
        last = last if np.isnan(told) else told
    return np.array(before)
