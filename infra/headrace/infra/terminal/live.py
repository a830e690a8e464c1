"""One line that shows how far something is, while other lines are printed above it."""

import sys
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

_BAR = 20  # characters
PLAIN_S = 10.0  # without a terminal, how often a change is printed


def bar(share: float) -> str:
    """How much is done of something, 0 to 1."""
    return f"[{'#' * int(_BAR * share):.<{_BAR}}] {share:.0%}"


class LiveLine:
    """A moving line on a terminal; elsewhere a line every ten seconds when it has changed.

    Used as a context manager: at the end of the block the moving line is gone. What is printed
    meanwhile stands above it.
    """

    def __init__(
        self, console: Console, *, indent: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._indent = indent
        self._clock = clock
        self._spinner = Spinner("dots")
        self._live = _moving(console, self._spinner) if console.is_terminal else None
        self._told = ""
        self._told_at = clock()

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        if self._live is not None:
            self._live.stop()

    def update(self, text: str) -> None:
        """What there is to tell now."""
        if self._live is not None:
            self._spinner.update(text=Text(text))
        elif text != self._told and self._clock() - self._told_at >= PLAIN_S:
            self._told, self._told_at = text, self._clock()
            self._console.print(
                f"{self._indent}{text}", markup=False, highlight=False, soft_wrap=True
            )


def _moving(console: Console, spinner: Spinner) -> Live:
    # Other streams are led through this console only where they would meet it on the terminal:
    # what goes to a file or a pipe stays there.
    return Live(
        spinner,
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=sys.stderr.isatty(),
    )
