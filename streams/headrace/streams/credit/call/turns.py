"""Calls of a group that stand at the same place of their episodes."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from headrace.streams.credit.call.contract import Array, CreditedGroup
from headrace.streams.credit.members import MemberCall

Place = tuple[int, int]
"""Episode and call, by their positions."""


def turns(calls: Sequence[MemberCall]) -> Iterator[tuple[str, int]]:
    """For each call its agent, and how many calls of that agent came before it."""
    seen: Counter[str] = Counter()
    for call in calls:
        yield call.agent, seen[call.agent]
        seen[call.agent] += 1


def against_each_other(
    group: CreditedGroup, keys: Sequence[Sequence[Hashable]], values: Sequence[Array]
) -> list[Array]:
    """The group's baseline of the values of all calls of equal key; NaN where a key occurs once.

    `keys`: one for each call of each episode, None for a call that is compared with none;
    `values`: float64 [calls] of each episode, as the result.
    """
    places: dict[Hashable, list[Place]] = defaultdict(list)
    for i, of_calls in enumerate(keys):
        for k, key in enumerate(of_calls):
            if key is not None:
                places[key].append((i, k))
    compared = [np.full(len(each), np.nan) for each in values]
    for same in places.values():
        if len(same) > 1:
            advantages = group.baseline(np.array([values[i][k] for i, k in same]))
            for (i, k), advantage in zip(same, advantages.tolist(), strict=True):
                compared[i][k] = advantage
    return compared


def by_turn(group: CreditedGroup, values: Sequence[Array]) -> list[Array]:
    """Values of calls against those of the same agent's same turn, float64 [calls] each.

    Where no other episode got that far, the episode's own advantage.
    """
    keys = [list(turns(episode.calls)) for episode in group.episodes]
    compared = against_each_other(group, keys, values)
    return [
        np.where(np.isnan(of_calls), episode.advantage, of_calls)
        for episode, of_calls in zip(group.episodes, compared, strict=True)
    ]
