"""Retries that do not help."""

from collections.abc import Iterable
from itertools import groupby

from headrace.schemas import EpisodeCall, EpisodeTool
from headrace.schemas.vocabulary import SpanStatus
from headrace.streams.signals.take import Seen

FEWEST = 3
"""As many failures in a row make one."""


def retry_storms(episode: Seen) -> int:
    """Runs of three or more failures in a row of one tool, or of an agent's calls."""
    return _storms(episode.tools) + _storms(episode.calls)


def _storms(done: Iterable[EpisodeCall | EpisodeTool]) -> int:
    outcomes = ((each.agent, each.name, each.status == SpanStatus.ERROR) for each in done)
    return sum(failed and len(list(run)) >= FEWEST for (_, _, failed), run in groupby(outcomes))
