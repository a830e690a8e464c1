"""Exceptions."""

from headrace.schemas.vocabulary import SpanKind
from headrace.streams.signals.take import Take


def exceptions(take: Take) -> list[int]:
    """Exceptions that the agent's code raised."""
    return take.count(take.where("kind", SpanKind.EXCEPTION))
