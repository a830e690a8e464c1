"""Rules: pure, synchronous functions of an Episode, versioned by name@version.

A rule without a version of its own has that of its code.
"""

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import overload

from headrace.schemas import Episode
from headrace.streams.reward.code import digest_of, text_of
from headrace.streams.reward.errors import RewardError
from headrace.streams.reward.targets import rewards_of_calls

Given = float | Mapping[str, float | None] | None
RuleFunction = Callable[[Episode], Given]
"""An Episode to its reward, or to the dimensions of it by name; None: not known yet."""

CallsFunction = Callable[[Episode], Sequence[float | None]]
"""An Episode to the rewards of its calls, in their order; None for a call without one."""

_NAME = re.compile(r"[A-Za-z0-9._:,=+-]{1,200}")
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,40}")


@dataclass(kw_only=True, slots=True, frozen=True)
class Rule:
    """A reward rule. Calling it runs the function; None means: not known yet.

    Raises RewardError for a name or version that is no identifier, a weight that is not finite, or
    an async function.
    """

    name: str
    function: RuleFunction
    version: str = ""
    """Changes whenever its results do; left out: the digest of its code."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Of the dimensions it gives, and of the rewards that spans aim at calls; empty: 1 each."""

    calls: CallsFunction | None = None
    """Gives calls rewards of their own; None: what spans aimed at them, by `weights`."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise RewardError(f"rule name {self.name!r} must match {_NAME.pattern}")
        if self.version and not _VERSION.fullmatch(self.version):
            raise RewardError(
                f"version {self.version!r} of rule {self.name} must match {_VERSION.pattern}"
            )
        for name, weight in self.weights.items():
            if not math.isfinite(weight):
                raise RewardError(
                    f"weight {weight!r} of {name!r} in rule {self.name} is not finite"
                )
        if inspect.iscoroutinefunction(self.function):
            raise RewardError(
                f"rule {self.name} is async: a rule is a plain function; let a slow scorer read "
                "headrace.episodes and append reward spans"
            )

    @property
    def id(self) -> str:
        """`name@version`, which is kept beside every result."""
        return f"{self.name}@{self.version or self.digest}"

    @property
    def digest(self) -> str:
        """Of its code: another one under the same id is a changed rule without a new version."""
        return _digest(self.function, self.calls, tuple(sorted(self.weights.items())))

    @property
    def text(self) -> str:
        """Its source, as far as it can be had."""
        return "\n".join(text_of(each) for each in (self.function, self.calls) if each is not None)

    def of_calls(self, episode: Episode) -> Sequence[float | None]:
        """The rewards of an Episode's calls, in their order."""
        if self.calls is not None:
            return self.calls(episode)
        return rewards_of_calls(episode, self.weights)

    def __call__(self, episode: Episode) -> Given:
        return self.function(episode)


@cache  # asked for with every group that is credited
def _digest(
    function: RuleFunction, calls: CallsFunction | None, weights: tuple[tuple[str, float], ...]
) -> str:
    return digest_of(function, calls, facts={"weights": weights})


@overload
def reward(function: RuleFunction, /) -> Rule: ...


@overload
def reward(
    *,
    name: str | None = None,
    version: str | int = "",
    weights: Mapping[str, float] | None = None,
    calls: CallsFunction | None = None,
) -> Callable[[RuleFunction], Rule]: ...


def reward(
    function: RuleFunction | None = None,
    /,
    *,
    name: str | None = None,
    version: str | int = "",
    weights: Mapping[str, float] | None = None,
    calls: CallsFunction | None = None,
) -> Rule | Callable[[RuleFunction], Rule]:
    """Make a function of an Episode a reward rule.

    Change `version` whenever its result changes; without one it has the digest of its code, which
    changes by itself.

    A rule of several dimensions returns them by name, and `weights` says what each counts. `calls`
    gives the calls of an Episode rewards of their own (`tool_success` is one).

    Example:
        @reward(version=2)
        def solved(episode: Episode) -> float | None:
            return float(episode.result == episode.expected)
    """

    def rule_of(plain: RuleFunction) -> Rule:
        return Rule(
            name=name or plain.__name__,
            version=str(version),
            function=plain,
            weights=weights or {},
            calls=calls,
        )

    return rule_of if function is None else rule_of(function)
