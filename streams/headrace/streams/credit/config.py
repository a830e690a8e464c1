"""What the credit stage can be told: the section `[credit]`."""

import re
from dataclasses import dataclass

from headrace.connectors.engines.roles import Roles
from headrace.connectors.settings import check, inner, key
from headrace.streams.credit.errors import UnknownMethod
from headrace.streams.credit.method import DEFAULT_BASELINE, CreditMethod
from headrace.streams.credit.overlong import Overlong
from headrace.streams.credit.state import GroupPatience
from headrace.streams.reward.errors import RewardError
from headrace.streams.reward.load import SPAN_PREFIXES
from headrace.streams.reward.span_rule import span_rule

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?")


@dataclass(kw_only=True, slots=True, frozen=True)
class CreditSettings:
    """Rewards and credit. Times are log time, milliseconds."""

    rule: str = "reward-span:reward"
    """Reward rule: `module:function`, `reward-span:NAME`, or `span:a=1.0,b=0.5`."""
    baseline: str = ""
    """Group baseline: grpo, dr_grpo, rloo, rloo_std, leave_one_out or none; empty: that of
    `[trainer] algorithm`."""
    call: str = "uniform"
    """Trajectory to calls: uniform, discounted(GAMMA), tool_outcome(SHARE), to_go(GAMMA),
    potential(GAMMA), turn_gae(GAMMA,LAM), turn_groups(OUTCOME) or gigpo(GAMMA,OMEGA)."""
    token: str = "uniform"
    """Call to tokens: uniform, or discounted(GAMMA)."""
    running_mean: int = key(0, least=0)
    """Rewards over which the baseline of groups of one is a running mean; 0: they tell nothing."""
    overlong_tokens: int | None = key(None, least=0)
    """Tokens a call may sample before it costs a full point of reward; 0: length costs nothing;
    open: `[policy] max_sequence` where `[trainer] algorithm` is `dapo`, else 0."""
    overlong_buffer: int | None = key(None, least=1)
    """The last so many of these cost, linearly; open: a fifth of them."""
    grace_ms: int = key(30_000, least=0)
    """A group is decided this long after its last deadline, complete or not."""
    max_wait_ms: int = key(600_000, least=1)
    """A group without deadlines is decided this long after its first episode."""
    max_held: int = key(200_000, least=1)
    """Episodes and calls kept in memory; more are looked up again when they are touched."""
    roles: Roles = inner(default_factory=Roles)
    """Which agents are trained: `[agents]`."""

    def __post_init__(self) -> None:
        methods = [(name, self._bad_method(name)) for name in ("call", "baseline", "token")]
        check(
            self,
            "credit",
            ("rule", _bad_rule(self.rule)),
            ("overlong_buffer", self._bad_buffer()),
            *methods,
        )

    @property
    def method(self) -> CreditMethod:
        """Call, baseline and token methods, and the agents that are trained."""
        return CreditMethod(
            call_name=self.call,
            baseline_name=self.baseline or DEFAULT_BASELINE,
            token_name=self.token,
            running_mean=self.running_mean,
            overlong=self.overlong,
            roles=self.roles,
        )

    @property
    def overlong(self) -> Overlong:
        """What long calls cost."""
        tokens = self.overlong_tokens or 0
        return Overlong(tokens=tokens, buffer=self.overlong_buffer or max(1, tokens // 5))

    @property
    def patience(self) -> GroupPatience:
        """How long a group waits."""
        return GroupPatience(grace_ms=self.grace_ms, max_wait_ms=self.max_wait_ms)

    def _bad_buffer(self) -> str:
        tokens, buffer = self.overlong_tokens or 0, self.overlong_buffer or 0
        if tokens == 0 or buffer <= tokens:
            return ""
        return f"is {buffer}: give at most overlong_tokens, {tokens}"

    def _bad_method(self, name: str) -> str:
        if name == "baseline" and not self.baseline:
            return ""
        try:
            CreditMethod(**{f"{name}_name": getattr(self, name)})
        except (UnknownMethod, ValueError) as error:
            return f"is {getattr(self, name)!r}: {error}"
        return ""


def _bad_rule(text: str) -> str:
    """What is wrong with how a rule is written; `headrace up` asks whether it can be imported."""
    for prefix in SPAN_PREFIXES:
        if text.startswith(prefix):
            try:
                span_rule(text.removeprefix(prefix))
            except RewardError as error:
                return f"is {text!r}: {error}"
            return ""
    if not _MODULE.fullmatch(text):
        return f"is {text!r}: give module:function, reward-span:NAME or span:a=1.0,b=0.5"
    return ""
