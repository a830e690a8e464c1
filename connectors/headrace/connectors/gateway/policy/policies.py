"""The policies of a gateway: which of them answers a call."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace.connectors.gateway.calls import Completion, IncomingCall
from headrace.connectors.gateway.conversation import AnswerEvent, Ask
from headrace.connectors.gateway.policy.serving import PolicyServing
from headrace.connectors.gateway.policy.versions import split_model
from headrace.schemas import PolicyRecord


class Sampler(Protocol):
    """Who samples completions."""

    async def answer(
        self,
        asked: IncomingCall,
        asks: Sequence[Ask],
        on_event: Callable[[AnswerEvent], None] | None,
    ) -> Completion:
        """Sample what is asked for; raises ApiError."""

    def count(self, ask: Ask) -> int:
        """Tokens of a prompt; raises ApiError."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Served:
    """One policy as it is served."""

    serving: PolicyServing
    sampler: Sampler


@dataclass(kw_only=True, slots=True, frozen=True)
class Route:
    """Who answers a call, and by which version; None: by what the traffic says."""

    served: Served
    version: int | None


class Policies:
    """One policy or several, each with an engine and versions of its own; the first is the default.

    What goes wrong with the weights of one leaves the others as they are.
    """

    def __init__(self, served: Iterable[Served]) -> None:
        self._served = {one.serving.policy: one for one in served}

    def __iter__(self) -> Iterator[PolicyServing]:
        return (one.serving for one in self._served.values())

    def __bool__(self) -> bool:
        return bool(self._served)

    @property
    def default(self) -> Served:
        """The default policy; there is one where there are any."""
        return next(iter(self._served.values()))

    def named(self, model: str) -> Route | None:
        """The policy that a model's name names, as `name` or `name@7`; None: no policy."""
        name, version = split_model(model)
        served = self._served.get(name)
        return None if served is None else Route(served=served, version=version)

    def start(self, records: Sequence[PolicyRecord]) -> None:
        """Begin with everything that was on the log; also after the log was read again."""
        for serving in self:
            serving.start(records)

    def take(self, records: Sequence[PolicyRecord]) -> None:
        """Go on with further records."""
        for serving in self:
            serving.take(records)

    async def run(self) -> None:
        """Keep every engine on its policy's versions until cancelled."""
        async with asyncio.TaskGroup() as group:
            for serving in self:
                group.create_task(serving.run())
