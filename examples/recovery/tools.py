"""A calculator that may be down, and a backup that is asked where the calculator failed."""

from collections.abc import Callable

from examples.calculator.agent import calculate
from headrace.connectors.sdk import tool

DOWN = ("timeout", "exception", "malformed")
"""How the calculator fails, for a whole task."""


class Calculators:
    """The two tools of one run; each use is a span of its attempt, as an error where it fails."""

    def __init__(self, down: str = "") -> None:
        self._down = down
        self._failed = False
        self._tools: dict[str, Callable[[str], str]] = {"calc": self._calc, "backup": self._backup}

    def use(self, name: str, expression: str) -> int:
        """The value of an expression by one of the tools.

        Raises TimeoutError, ConnectionError or ValueError, whatever went wrong.
        """
        with tool(name or "none", {"expression": expression}) as result:
            if name not in self._tools:
                raise ValueError("call calc or backup")
            said = self._tools[name](expression)
            try:
                result.output = value = int(said)
            except ValueError:
                # Without what it said: a small model would take that for something to calculate.
                raise ValueError(f"{name} answered with no number") from None
        return value

    def _calc(self, expression: str) -> str:
        self._failed = self._failed or bool(self._down)
        if self._down == "timeout":  # raised at once: nobody gains by waiting here
            raise TimeoutError("calc did not answer in time")
        if self._down == "exception":
            raise ConnectionError("calc refused the connection")
        said = str(calculate(expression))
        return f"{said[:1]}#?" if self._down == "malformed" else said

    def _backup(self, expression: str) -> str:
        if not self._failed:
            raise ConnectionError("backup waits for calc to fail")
        return str(calculate(expression))
