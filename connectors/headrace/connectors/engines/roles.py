"""Which policy answers an agent, and whether its calls are trained: `[agents]`. Pure.

The gateway routes by it and credit selects by it, so both read it here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from headrace.connectors.engines.policy import PoliciesSettings, PolicySettings
from headrace.connectors.settings import BadSettings, Fault, Names, sections_from_environment
from headrace.schemas.vocabulary import Untrainable

OTHERS = "*"
"""Stands for every agent that is not named."""


class How(StrEnum):
    """What becomes of an agent's calls."""

    TRAINED = "trained"
    UNTRAINED = "untrained"
    """Answered by the version that is served, never trained."""
    FROZEN = "frozen"
    """Answered by version 0 for ever."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Role:
    """An agent's policy, and what becomes of its calls."""

    policy: str
    how: How = How.TRAINED


_KEPT = re.compile(rf"({How.FROZEN}|{How.UNTRAINED})(?:\(([^()]*)\))?")
RESERVED = frozenset({How.FROZEN, How.UNTRAINED})
"""What no policy may be called."""


@dataclass(kw_only=True, slots=True, frozen=True)
class AgentsSettings(Names):
    """Which policy answers each agent, by the agent's name: a policy's name, whose trainer then
    trains its calls; `frozen`, version 0 of the default policy, never trained; `untrained`, the
    default policy as it is served, never trained. `frozen(NAME)` and `untrained(NAME)` are of
    another policy. The name `*` stands for every agent that is not named."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Roles:
    """The roles of all agents. Without policies nothing is said: whoever calls is trained."""

    policies: tuple[str, ...] = ()
    """All names, the default policy's first."""
    agents: Mapping[str, Role] = field(default_factory=dict)

    @property
    def default(self) -> str:
        """The default policy; empty where nothing is said."""
        return self.policies[0] if self.policies else ""

    @property
    def others(self) -> Role:
        """The role of an agent that is not named."""
        return self.agents.get(OTHERS) or Role(policy=self.default)

    def named(self, agent: str) -> Role | None:
        """The role of an agent that is named; None: it is not."""
        return None if agent == OTHERS else self.agents.get(agent)

    @property
    def trained(self) -> tuple[str, ...]:
        """Policies that have a trainer: an agent trains it, or any may ask for it by name."""
        return tuple(name for name in self.policies if self._is_trained(name))

    @property
    def followed(self) -> tuple[str, ...]:
        """Policies of which the version is served that the log says."""
        return tuple(
            name
            for name in self.policies
            if self._is_trained(name) or How.UNTRAINED in self._hows(name)
        )

    @property
    def frozen(self) -> tuple[str, ...]:
        """Policies of which version 0 is served to agents that are frozen."""
        return tuple(name for name in self.policies if How.FROZEN in self._hows(name))

    def why_not(self, agent: str, answered_by: str, asked_for: str) -> str:
        """Why a call is not selected to be trained; empty: it is.

        Args:
            agent: who called.
            answered_by: the policy that answered; empty: none.
            asked_for: the policy that its attempt is to train; empty: none was named.
        """
        role = self.named(agent)
        if role is None and OTHERS in self.agents:
            kept = self.others.how != How.TRAINED and answered_by == self.others.policy
            role = self.others if kept or answered_by == self.default else None
        if role is None:
            ours = answered_by == asked_for or not asked_for or answered_by in self.trained
            return "" if ours else Untrainable.NOT_SELECTED
        if role.how != How.TRAINED:
            return Untrainable.NOT_SELECTED
        if answered_by and answered_by != role.policy:
            return Untrainable.OTHER_POLICY
        return ""

    def __str__(self) -> str:
        """What is said of agents, in an order that does not matter."""
        told = (
            f"{name}={role.policy if role.how == How.TRAINED else f'{role.how}({role.policy})'}"
            for name, role in sorted(self.agents.items())
        )
        return ",".join(told)

    def _hows(self, policy: str) -> set[How]:
        return {role.how for role in self.agents.values() if role.policy == policy}

    def _is_trained(self, policy: str) -> bool:
        hows = self._hows(policy)
        if How.TRAINED in hows:
            return True
        # A further policy that no agent has is asked for by its name.
        return OTHERS not in self.agents if policy == self.default else not hows


def roles_of(policies: Sequence[str], agents: AgentsSettings) -> tuple[Roles, list[Fault]]:
    """The roles that the settings give, and what is wrong with them.

    Args:
        policies: the names of all policies, the default policy's first.
        agents: what `[agents]` says.
    """
    roles = {name: _role(text, policies[0]) for name, text in agents.entries.items()}
    known = {name: role for name, role in roles.items() if role.policy in policies}
    return Roles(policies=tuple(policies), agents=known), list(_faults(policies, agents, known))


def roles_from_environment(environment: Mapping[str, str]) -> Roles:
    """The roles that `[policy]`, `[policies]` and `[agents]` give; raises BadSettings."""
    made = sections_from_environment(
        {"policy": PolicySettings, "policies": PoliciesSettings, "agents": AgentsSettings},
        environment,
    )
    roles, faults = roles_of((made["policy"].name, *made["policies"].entries), made["agents"])
    if faults:
        raise BadSettings(faults)
    return roles


def _role(text: str, default: str) -> Role:
    kept = _KEPT.fullmatch(text.strip())
    if kept is None:
        return Role(policy=text.strip())
    return Role(policy=default if kept[2] is None else kept[2].strip(), how=How(kept[1]))


def _faults(
    policies: Sequence[str], agents: AgentsSettings, known: Mapping[str, Role]
) -> Iterator[Fault]:
    reserved = " and ".join(sorted(RESERVED))
    for place, name in enumerate(policies):
        if name in RESERVED:
            section, key = ("policies", name) if place else ("policy", "name")
            yield Fault(section, key, f"is {name!r}: {reserved} are words of the section [agents]")
    choices = ", ".join([*policies, *sorted(RESERVED)])
    for name, text in agents.entries.items():
        if name not in known:
            yield Fault("agents", name, f"is {text!r}, which is no policy: give one of {choices}")
