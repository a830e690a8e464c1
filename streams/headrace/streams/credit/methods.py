"""Methods by name, as a setting writes them: one kind of table for calls, baselines and tokens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from headrace.streams.credit.errors import UnknownMethod

M = TypeVar("M")


@dataclass(kw_only=True, slots=True, frozen=True)
class Methods(Generic[M]):
    """The methods of one stage of credit."""

    stage: str
    """What they are called in an error."""
    plain: Mapping[str, M]
    """Methods by their name."""
    of_number: Mapping[str, Callable[[float], M]] = field(default_factory=dict)
    """Methods of one number, written `name(0.9)`; they raise UnknownMethod for one they refuse."""

    def named(self, text: str) -> M:
        """The method of a setting; raises UnknownMethod."""
        if text in self.plain:
            return self.plain[text]
        name, _, rest = text.partition("(")
        if name in self.of_number and rest.endswith(")"):
            return self.of_number[name](self._number(text, rest[:-1]))
        choices = ", ".join([*self.plain, *(f"{name}(NUMBER)" for name in self.of_number)])
        raise UnknownMethod(f"no {self.stage} {text!r}: choose one of {choices}")

    def _number(self, text: str, number: str) -> float:
        try:
            return float(number)
        except ValueError as error:
            raise UnknownMethod(f"{self.stage} {text!r}: {error}; write for example 0.9") from error
