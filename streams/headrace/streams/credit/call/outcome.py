"""Methods that give each call a part of the episode's advantage. Pure."""

from collections.abc import Callable

import numpy as np

from headrace.schemas import Episode
from headrace.schemas.vocabulary import SpanStatus
from headrace.streams.credit.call.contract import Array, CallMethod, CreditedEpisode
from headrace.streams.credit.methods import within, written
from headrace.streams.reward.tools import tools_of_calls


def spread_by(name: str, weights: Callable[[CreditedEpisode], Array]) -> CallMethod:
    """A_k = w_k·A, `weights` float64 [calls]."""
    return CallMethod(
        name=name,
        advantages=lambda group: [each.spread(weights(each)) for each in group.episodes],
    )


UNIFORM = spread_by("uniform", lambda episode: np.ones(len(episode.calls)))
"""A_k = A for every call: what LightningRL published and ran (arXiv 2508.03680)."""


def discounted(gamma: float) -> CallMethod:
    """A_k = gamma^(K-1-k)·A: the return-to-go of an outcome that comes with the last call.

    Raises UnknownMethod unless 0 < gamma ≤ 1.
    """
    within("gamma", gamma, 0, 1)
    return spread_by(
        written("discounted", gamma),
        lambda episode: gamma ** np.arange(len(episode.calls) - 1, -1, -1, dtype=np.float64),
    )


FAILED, FINE = "failed", "fine"


def tool_outcome(share: float = 0.5) -> CallMethod:
    """A_k = A·K·w_k / Σw: calls whose tools failed get less of praise and more of blame.

    w is `share` where a tool of the call failed and A > 0, or where none did and A < 0; else 1.
    So the mean of A_k is A, and equal outcomes of tools are `uniform`.
    Raises UnknownMethod unless 0 < share ≤ 1.
    """
    within("share", share, 0, 1)

    def weights(episode: CreditedEpisode) -> Array:
        failed = np.array([call.observed == FAILED for call in episode.calls], dtype=bool)
        less = failed if episode.advantage > 0 else ~failed
        parts = np.where(less, share, 1.0)
        scaled: Array = parts * len(parts) / max(parts.sum(), share)
        return scaled

    spread = spread_by(written("tool_outcome", share), weights)
    return CallMethod(name=spread.name, advantages=spread.advantages, observe=_tools_fared)


def _tools_fared(episode: Episode) -> list[str]:
    def fared(statuses: list[str]) -> str:
        return FAILED if SpanStatus.ERROR in statuses else FINE if statuses else ""

    return [fared([tool.status for tool in tools]) for tools in tools_of_calls(episode)]
