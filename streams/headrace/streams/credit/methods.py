"""Methods by name, as a setting writes them: one kind of table for calls, baselines and tokens."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from headrace.streams.credit.errors import UnknownMethod

M = TypeVar("M")

_WITH_NUMBERS = re.compile(r"(\w+)\((.*)\)")


@dataclass(kw_only=True, slots=True, frozen=True)
class Methods(Generic[M]):
    """The methods of one stage of credit."""

    stage: str
    """What they are called in an error."""
    plain: Mapping[str, M]
    """Methods by their name."""
    made: Mapping[str, Callable[..., M]] = field(default_factory=dict)
    """Methods of numbers, written `name(0.9)`, `name(0.9,1)` or `name(omega=1)`; by the name alone
    where all of them have defaults. They raise UnknownMethod for a number they refuse."""

    def named(self, text: str) -> M:
        """The method of a setting; raises UnknownMethod."""
        if text in self.plain:
            return self.plain[text]
        found = _WITH_NUMBERS.fullmatch(text)
        name, given = (found[1], found[2].split(",")) if found else (text, [])
        if name not in self.made:
            raise UnknownMethod(f"no {self.stage} {text!r}: choose one of {', '.join(self.names)}")
        numbers, named = self._numbers(text, given)
        try:
            wanted = inspect.signature(self.made[name]).bind(*numbers, **named)
        except TypeError as error:
            how = self._how(name)
            raise UnknownMethod(f"{self.stage} {text!r}: {error}; write {how}") from error
        return self.made[name](*wanted.args, **wanted.kwargs)

    @property
    def names(self) -> list[str]:
        """How each is written."""
        return [*self.plain, *map(self._how, self.made)]

    def _how(self, name: str) -> str:
        return f"{name}({', '.join(inspect.signature(self.made[name]).parameters)})"

    def _numbers(self, text: str, given: list[str]) -> tuple[list[float], dict[str, float]]:
        numbers: list[float] = []
        named: dict[str, float] = {}
        for each in given:
            name, equals, number = each.rpartition("=")
            try:
                value = float(number)
            except ValueError as error:
                raise UnknownMethod(
                    f"{self.stage} {text!r}: {error}; write for example 0.9"
                ) from error
            if equals:
                named[name.strip()] = value
            else:
                numbers.append(value)
        return numbers, named


def written(name: str, *numbers: float) -> str:
    """How a method of numbers is named in a credit's id."""
    return f"{name}({','.join(f'{number:g}' for number in numbers)})"


def within(name: str, number: float, low: float, high: float, *, zero: bool = False) -> None:
    """Raises UnknownMethod unless low < number ≤ high (low ≤ number with `zero`)."""
    if not (low < number <= high or (zero and number == low)):
        bracket = "[" if zero else "("
        raise UnknownMethod(f"{name} is {number:g}: it must be in {bracket}{low:g}, {high:g}]")
