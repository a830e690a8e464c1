"""What the verbs share: one line a part, progress bars on downloads."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from headrace.infra.embedded.artifacts import Progress as OnProgress
from headrace.infra.supervise import State

STYLES = {
    State.READY: "green",
    State.CRASHED: "red",
    State.FAILED: "red",
    State.STOPPED: "dim",
    State.STOPPING: "dim",
}
QUIET = {State.PREPARING, State.STOPPING}


class PartLines:
    """Prints one line for every change of a part's state."""

    def __init__(self, console: Console, endpoints: dict[str, str | None]) -> None:
        self._console = console
        self._endpoints = endpoints
        self._last: dict[str, tuple[State, str]] = {}

    def __call__(self, part: str, state: State, message: str) -> None:
        """Show the new state, unless it says nothing new."""
        if self._last.get(part) == (state, message) or state in QUIET:
            return
        self._last[part] = (state, message)
        text = (self._endpoints.get(part) or "") if state is State.READY else message
        self._console.print(
            f"  {part:<11}[{STYLES.get(state, 'yellow')}]{state.value:<9}[/] {text}",
            highlight=False,
            soft_wrap=True,
        )


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
        tasks: dict[str, object] = {}

        def on_progress(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]

        yield on_progress
