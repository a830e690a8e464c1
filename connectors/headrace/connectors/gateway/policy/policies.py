"""The policies of a gateway: which of them answers a call."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace.connectors.engines.roles import How, Role, Roles
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
    selected: bool = True
    """Whether its agent's calls are trained."""

    def version_for(self, rollout_id: str) -> int | None:
        """The version that answers a rollout: the pinned one, else that of its share of the
        traffic; None: the one that is served."""
        if self.version is not None:
            return self.version
        return self.served.serving.share_of(rollout_id)


class Policies:
    """One policy or several, each with an engine and versions of its own.

    What goes wrong with the weights of one leaves the others as they are.
    """

    def __init__(self, served: Iterable[Served], roles: Roles | None = None) -> None:
        """served: what `roles` follow and freeze; without roles, each is asked for by its name."""
        self._served = list(served)
        self._followed = {
            one.serving.policy: one for one in self._served if not one.serving.is_frozen
        }
        self._frozen = {one.serving.policy: one for one in self._served if one.serving.is_frozen}
        self._roles = roles or Roles(policies=tuple(self._followed))

    def __iter__(self) -> Iterator[PolicyServing]:
        return (one.serving for one in self._served)

    def __bool__(self) -> bool:
        return bool(self._served)

    def route(self, model: str, agent: str) -> Route | None:
        """Who answers an agent that asks for a model (`name`, `name@7`); None: neither says it.

        An agent that has a role is answered by its policy, whatever it asks for: agents are given
        the name of their task's policy as the model, and ask for it in every role. For all others
        the model's name decides; that of the default policy is as good as none.
        """
        role, name = self._roles.named(agent), split_model(model)[0]
        if role is None and name not in self._roles.policies:
            return None
        if role is None:
            role = self._roles.others if name == self._roles.default else Role(policy=name)
        return self._by(role, model)

    def others(self, model: str) -> Route:
        """Who answers an agent without a role that asks for no policy; there has to be one."""
        return self._by(self._roles.others, model)

    def _by(self, role: Role, model: str) -> Route:
        followed = self._followed.get(role.policy)
        if role.how == How.FROZEN or followed is None:
            return Route(served=self._frozen[role.policy], version=None, selected=False)
        name, version = split_model(model)
        return Route(
            served=followed,
            version=version if name == role.policy else None,
            selected=role.how == How.TRAINED,
        )

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
