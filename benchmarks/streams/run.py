"""Measures what the streams take, from an agent's span to its credit, on this machine.

`python -m benchmarks.streams.run` from the repository's root starts a broker, a registry,
ClickHouse's engine and the stream workers on free ports, as `headrace up` does, and lets agents'
telemetry loose on them: all at once (what is the most they take?) and at steady rates (how late is
the credit?). Everything is counted at both ends. Writes JSON, a table (Markdown) and a plot to
`benchmarks/results/`, and prints the figures beside those of the last result that is there.
`--table` runs every load of docs/performance.md's table, which takes some ten minutes. Exit code 1:
a count was wrong. Nothing is asserted of times.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.machine import about
from benchmarks.streams.compare import newest, read, side_by_side
from benchmarks.streams.parts import running_parts
from benchmarks.streams.phase import Outcome, Plan, idle_cores, run_phase
from benchmarks.streams.report import summary, versions, write
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

RESULTS = Path(__file__).parents[1] / "results"
_TABLE_S = 40.0
_TABLE_RATES = (10.0, 50.0, 150.0, 300.0)
_SMALL = ("--prompt-tokens", "40", "--completion-tokens", "6", "--tool-tokens", "4")
"""Options of episodes with about 400 bytes a span."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs all phases; gives the exit code."""
    options = _options(argv)
    console = Console(stderr=True)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="headrace-streams-") as scratch:
        directory = Path(options.directory or scratch)
        console.print(f"starting the parts in {directory}", soft_wrap=True)
        with (
            running_parts(
                directory, options.partitions, lambda *_: None, options.workers
            ) as running,
            _bars(console) as bars,
        ):
            idle = idle_cores(running, options.idle)
            console.print("idle cores: " + ", ".join(f"{n} {c:.3f}" for n, c in idle.items()))
            for plan in _plans(options):
                total = plan.groups * options.group_size * (2 * options.calls + 2)
                bar = bars.add_task(plan.name, total=total)
                outcome = run_phase(running, plan, partial(_show, bars, bar))
                bars.update(bar, completed=total)
                bars.console.print(summary(outcome), soft_wrap=True)
                outcomes.append(outcome)
    measured = outcomes[1:]  # the first warmed everything up
    if (before := newest(RESULTS, options.name)) is not None:
        sys.stdout.write(f"beside {before.name}\n{side_by_side(read(before), measured)}\n")
    if not options.dry:
        for file in write(
            RESULTS, options.name, about(options) | {"versions": versions()}, idle, measured
        ):
            console.print(f"wrote {file}", soft_wrap=True)
    wrong = [f"{outcome.name}: {fault}" for outcome in outcomes for fault in outcome.faults]
    for fault in wrong:
        console.print(f"[red]WRONG[/red] {fault}", soft_wrap=True)
    return 1 if wrong else 0


def _plans(options: argparse.Namespace) -> list[Plan]:
    size = options.group_size
    shape = [
        text
        for name in ("calls", "prompt_tokens", "completion_tokens", "group_size", "step")
        for text in (f"--{name.replace('_', '-')}", str(getattr(options, name)))
    ]
    plans = [
        Plan(name="warm-up", groups=max(1, options.warm_up // size), options=shape),
        Plan(name="flood", groups=max(1, options.episodes // size), options=shape),
    ]
    if options.table:
        plans.append(Plan(name="flood-small", groups=plans[-1].groups, options=[*shape, *_SMALL]))
    for rate in _TABLE_RATES if options.table else options.rates:
        seconds = _TABLE_S if options.table else options.seconds
        plans.append(
            Plan(
                name=f"steady-{rate:g}",
                groups=max(1, round(rate * seconds / size)),
                rate=rate,
                options=[*shape, "--seed", "1"],
                timeout_s=seconds + 600,
            )
        )
    return plans


def _show(bars: Progress, bar: TaskID, spans: int) -> None:
    bars.update(bar, completed=spans)


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("spans"),
        TimeElapsedColumn(),
        console=console,
    )


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.streams.run", description=__doc__)
    parser.add_argument("--episodes", type=int, default=10_000, help="of the flood")
    parser.add_argument(
        "--rates", nargs="*", type=float, default=[10.0, 20.0, 50.0],
        help="episodes a second of the steady phases",
    )  # fmt: skip
    parser.add_argument("--table", action="store_true", help="every load of the table")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each steady phase")
    parser.add_argument("--step", type=float, default=0.5, help="seconds of an agent's step")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds of doing nothing, first")
    parser.add_argument("--warm-up", type=int, default=1_000, help="episodes before anything")
    parser.add_argument("--calls", type=int, default=4, help="of an episode")
    parser.add_argument("--prompt-tokens", type=int, default=600, help="of a call, on average")
    parser.add_argument("--completion-tokens", type=int, default=100, help="of a call")
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--partitions", type=int, default=8, help="of each topic")
    parser.add_argument("--workers", type=int, default=1, help="of assemble and of credit")
    parser.add_argument("--name", default="streams", help="stem of the files written")
    parser.add_argument("--dry", action="store_true", help="write no files")
    parser.add_argument("--directory", help="keep the parts' data and logs in this empty folder")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
