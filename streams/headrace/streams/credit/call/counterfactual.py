"""Leave one call out: what came of the very same question where it was answered otherwise. Pure."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.schemas import Episode
from headrace.streams.credit.call.contract import Array, CallMethod, CreditedGroup
from headrace.streams.credit.call.observed import compared, hashes
from headrace.streams.credit.methods import within, written

_IDS = frozenset({"id", "tool_call_id", "call_id"})


def counterfactual(gamma: float = 1.0) -> CallMethod:
    """A_k: the return from call k on, by the baseline over all calls with the same whole history.

    They are replays of this call: all before it was the same, so that what they returned differs by
    the answer and what came of it. With `rloo` the call itself is left out of what it is measured
    by (VinePPO's estimate, arXiv 2410.01679, from episodes that the log has). A call that nobody
    replayed takes its episode's advantage.
    Raises UnknownMethod unless 0 < gamma ≤ 1.
    """
    within("gamma", gamma, 0, 1)

    def advantages(group: CreditedGroup) -> list[Array]:
        return [
            np.where(np.isnan(of_calls), episode.advantage, of_calls)
            for episode, of_calls in zip(group.episodes, compared(group, gamma), strict=True)
        ]

    return CallMethod(
        name=written("counterfactual", gamma), advantages=advantages, observe=histories_of
    )


def histories_of(episode: Episode) -> Sequence[str]:
    """A hash of all that each call was asked; '' where its input is not known."""
    return hashes(episode, _history)


def _history(asked: str) -> str:
    try:
        return json.dumps(_without_ids(json.loads(asked)), sort_keys=True)
    except (ValueError, RecursionError):
        return asked


def _without_ids(value: Any) -> Any:
    """A value without the ids that a call and its tools get anew in each episode."""
    if isinstance(value, list):
        return [_without_ids(each) for each in value]
    if isinstance(value, dict):
        return {key: _without_ids(each) for key, each in value.items() if key not in _IDS}
    return value
