"""Anchor groups (GiGPO, arXiv 2505.10978): calls that were made in the same state. Pure."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.schemas import Episode
from headrace.streams.credit.call.contract import Array, CallMethod, CreditedGroup
from headrace.streams.credit.call.observed import compared, hashes
from headrace.streams.credit.methods import within, written

MOST = 1e6


def gigpo(gamma: float = 0.95, omega: float = 1.0) -> CallMethod:
    """A_k = A + omega·A_S, A_S the baseline of the returns from all calls in one state.

    The state is what the call was asked since the last answer of a model, hashed. A call whose
    state nobody else was in has no A_S.
    Raises UnknownMethod unless 0 < gamma ≤ 1 and 0 ≤ omega.
    """
    within("gamma", gamma, 0, 1)
    within("omega", omega, 0, MOST, zero=True)

    def advantages(group: CreditedGroup) -> list[Array]:
        return [
            episode.spread(np.ones(len(episode.calls))) + omega * np.nan_to_num(of_states, nan=0.0)
            for episode, of_states in zip(group.episodes, compared(group, gamma), strict=True)
        ]

    return CallMethod(name=written("gigpo", gamma, omega), advantages=advantages, observe=states_of)


def states_of(episode: Episode) -> Sequence[str]:
    """A hash of the state in which each call was made; '' where its input is not known."""
    return hashes(episode, lambda asked: json.dumps(_observation(asked), sort_keys=True))


def _observation(text: str) -> Any:
    """The messages since the last answer of a model, without what differs from run to run."""
    try:
        messages = json.loads(text)
    except (ValueError, RecursionError):
        return " ".join(text.split())
    if not isinstance(messages, list):
        return messages
    answers = [i for i, m in enumerate(messages) if isinstance(m, dict) and _is_answer(m)]
    return [_canonical(message) for message in messages[answers[-1] + 1 if answers else 0 :]]


def _is_answer(message: dict[str, Any]) -> bool:
    return message.get("role") == "assistant"


def _canonical(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    kept = {key: value for key, value in message.items() if key not in ("id", "tool_call_id")}
    return {k: " ".join(v.split()) if isinstance(v, str) else v for k, v in kept.items()}
