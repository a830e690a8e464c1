"""The three stages of credit together, under one name."""

from dataclasses import dataclass, field

from headrace.connectors.engines.roles import Roles
from headrace.streams.credit.baseline import Baseline
from headrace.streams.credit.call import CallMethod
from headrace.streams.credit.methods import written
from headrace.streams.credit.overlong import Overlong
from headrace.streams.credit.registry import BASELINES, CALL_METHODS, TOKEN_METHODS
from headrace.streams.credit.token import TokenMethod

VERSION = 3
"""Raised whenever a method's result changes."""

DEFAULT_BASELINE = "grpo"

OF_INCOMPLETE = {"grpo": "rloo_std", "dr_grpo": "rloo"}
"""Baseline of an incomplete group: unbiased for any number of members, and on the scale of that of
the complete ones, with which it is in a step. The others are so themselves."""


@dataclass(kw_only=True, slots=True, frozen=True)
class CreditMethod:
    """Trajectory → call, group baseline, call → token, and the agents that are trained.

    Raises UnknownMethod for a stage's method that does not exist.
    """

    call_name: str = "uniform"
    baseline_name: str = DEFAULT_BASELINE
    token_name: str = "uniform"
    running_mean: int = 0
    """Rewards over which groups of one have a running mean as baseline; 0: they have none."""
    overlong: Overlong = field(default_factory=Overlong)
    """What long calls cost the reward, before the baseline."""
    roles: Roles = field(default_factory=Roles)
    """Which agents are trained, and by which policy's trainer."""

    def __post_init__(self) -> None:
        CALL_METHODS.named(self.call_name)
        BASELINES.named(self.baseline_name)
        TOKEN_METHODS.named(self.token_name)

    @property
    def id(self) -> str:
        """`call/baseline/token@version`, with the roles of agents where they have any."""
        agents = f"[{self.roles}]" if self.roles.agents else ""
        running = f"+{written('running_mean', self.running_mean)}" if self.running_mean else ""
        overlong = f"+{self.overlong.name}" if self.overlong.name else ""
        baseline = f"{self.baseline_name}{running}{overlong}"
        return f"{self.call.name}/{baseline}/{self.token.name}{agents}@{VERSION}"

    @property
    def call(self) -> CallMethod:
        """Stage 1."""
        return CALL_METHODS.named(self.call_name)

    @property
    def token(self) -> TokenMethod:
        """Stage 3."""
        return TOKEN_METHODS.named(self.token_name)

    @property
    def tells_of_equals(self) -> bool:
        """Whether rewards that are all the same train something: where the trainer has a baseline
        of its own."""
        return self.baseline_name == "none"

    def baseline_of(self, *, complete: bool) -> tuple[str, Baseline]:
        """Stage 2 with its name; an incomplete group has one that is unbiased on the same scale."""
        name = self.baseline_name
        if not complete:
            name = OF_INCOMPLETE.get(name, name)
        return name, BASELINES.named(name)
