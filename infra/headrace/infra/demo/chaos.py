"""Kills parts of a running demo, to show that nothing is lost by it."""

import os
import random
import signal
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from headrace.infra.supervise import State, read_status

VICTIMS = ("assemble", "credit", "sink", "trainer", "kafka", "registry", "clickhouse")
"""Not the gateway: the calls that it was answering would end in errors, which are results."""
PAUSE_S = (8.0, 20.0)
"""Between two kills; the next one waits besides until every part is back."""


class Chaos:
    """SIGKILLs one part after the other while the block lasts, and says so.

    One at a time: the next when every part is ready again, and none twice before each was killed
    once. So none is kept from ever getting to work, however slow the machine.
    """

    def __init__(
        self,
        directory: Path,
        console: Console,
        *,
        seed: int = 0,
        pause_s: tuple[float, float] = PAUSE_S,
    ) -> None:
        self.killed: Counter[str] = Counter()
        self._directory = directory
        self._console = console
        self._random = random.Random(seed)
        self._pause_s = pause_s
        self._left: list[str] = []
        self._pids: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._random.uniform(*self._pause_s)):
            status = read_status(self._directory)
            parts = {part.name: part for part in status.parts} if status is not None else {}
            here = [name for name in VICTIMS if name in parts]  # others are services of the user's
            self._left = self._left or self._random.sample(here, len(here))
            if not self._left or any(one.state is not State.READY for one in parts.values()):
                continue  # looked at again after the next pause
            name = self._left[-1]
            if (pid := parts[name].pid) is None or pid == self._pids.get(name):
                continue  # its end has not been noticed yet
            self._left.pop()
            self._pids[name] = pid
            with suppress(ProcessLookupError):  # it ended by itself in between
                os.killpg(pid, signal.SIGKILL)
                self.killed[name] += 1
                self._console.print(f"[red]killed[/] {name}", highlight=False)


def summary(killed: Counter[str]) -> str:
    """What was killed how often, in a line."""
    each = ", ".join(f"{name} {number}" for name, number in sorted(killed.items()))
    return f"{killed.total()} parts were killed while it learnt: {each}" if each else "none"
