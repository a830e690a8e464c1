"""What commands show of the parts: one line each, and what is being waited for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)

from headrace.infra.embedded.artifacts import Progress as OnProgress
from headrace.infra.supervise import State
from headrace.infra.terminal.live import LiveLine

STYLES = {
    State.READY: "green",
    State.SILENT: "red",
    State.CRASHED: "red",
    State.FAILED: "red",
    State.STOPPED: "dim",
    State.STOPPING: "dim",
}
SHOWN = {State.READY, State.SILENT, State.CRASHED, State.FAILED}


class PartLines:
    """Prints a line when a part is ready or has failed, and keeps saying what is waited for.

    Used as a context manager.
    """

    def __init__(self, console: Console, endpoints: Mapping[str, str | None]) -> None:
        self._console = console
        self._endpoints = endpoints
        self._states: dict[str, tuple[State, str]] = {}
        self._wait = LiveLine(console, indent="  ")

    def __enter__(self) -> "PartLines":
        """Begin to show the wait."""
        self._wait.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the wait away; later changes are still printed."""
        self._wait.__exit__()

    def __call__(self, part: str, state: State, message: str) -> None:
        """Take in a part's state."""
        before = self._states.get(part, (None, ""))[0]
        self._states[part] = (state, message)
        if state in SHOWN and state is not before:
            self._print(part, state, message)
        self._tell_wait()

    def _print(self, part: str, state: State, message: str) -> None:
        text = (self._endpoints.get(part) or "") if state is State.READY else message
        self._console.print(
            f"  {part:<11}[{STYLES[state]}]{state.value:<8}[/] {escape(text)}",
            highlight=False,
            soft_wrap=True,
        )

    def _tell_wait(self) -> None:
        waits = [
            f"{part}: {'preparing' if state is State.PREPARING else message}"
            for part, (state, message) in self._states.items()
            if state in (State.PREPARING, State.STARTING)
        ]
        if waits:
            self._wait.update(f"waiting for {', '.join(waits)}")


@contextmanager
def download_bars(console: Console) -> Iterator[OnProgress]:
    """A bar for each download while the block runs; the callback takes (what, done, total)."""
    with Progress(
        TextColumn("  {task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        transient=True,
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def on_progress(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield on_progress
