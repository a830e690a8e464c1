"""Ends that infrastructure brought about, not the agent."""

from headrace.schemas.vocabulary import InfrastructureEnd, SpanKind
from headrace.streams.signals.take import Signal, Take


def infrastructure(end: InfrastructureEnd) -> Signal:
    """How often the runner said that infrastructure ended the attempt in this way."""

    def count(take: Take) -> list[int]:
        return take.count(take.where("kind", SpanKind.EVENT) & take.where("name", end))

    return count
