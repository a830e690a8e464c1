"""The demo from start to finish."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.tasks import TaskSource
from headrace.infra.audit import audit
from headrace.infra.audit.told import lines
from headrace.infra.demo import queries, report
from headrace.infra.demo.cases import Case, Tasks
from headrace.infra.demo.chaos import Chaos, summary
from headrace.infra.demo.evaluation import evaluate
from headrace.infra.demo.follow import follow_versions
from headrace.infra.demo.workplace import prepare
from headrace.infra.errors import PartFailed
from headrace.infra.launch import background
from headrace.infra.launch.runners import source_config, work_process
from headrace.infra.launch.running import check_ports, fetch
from headrace.infra.settings import Settings
from headrace.infra.supervise import State, read_status

SIGNIFICANCE = 0.01
ATTEMPT_S = 300.0
ENDED_S = 60.0
"""A rollout of the demos takes seconds; one that hangs is not waited for."""
BACK_S = 120.0
LOOK_S = 0.5


@dataclass(kw_only=True, slots=True, frozen=True)
class DemoConfig:
    """How long the demo trains and how hard it is tested."""

    case: Case
    """What learns."""
    versions: int
    """Policy versions to train."""
    heldout: int = 64
    """Held-out questions, asked of the first and of the last version."""
    seed: int = 0
    """Of the order in which tasks are drawn to train."""
    settings: str = "settings.toml"
    """File of the example's folder."""
    chaos: bool = False
    """Parts are killed while it learns, and an audit ends the demo."""


def run_demo(settings: Settings, config: DemoConfig, console: Console) -> bool:
    """Run the demo; True if the last version beats the first with p < 0.01, and if an audit of a
    demo with chaos is clean.

    Ctrl-C stops every part and is raised on.
    """
    started = time.monotonic()
    overrides = {
        name: dict(values) for name, values in config.case.settings(config.settings).items()
    }
    overrides.setdefault("trainer", {})["max_versions"] = config.versions
    python = config.case.python
    settings, file = prepare(settings, overrides)
    check_ports(settings)
    console.rule("the parts")
    fetch(settings, console)
    try:
        background.start(console, settings.directory, settings=file)
        learnt = _learn_and_test(settings, file, config, python, console)
        clean = _audited(settings, console) if config.chaos else True
    except BaseException:  # Ctrl-C too: nothing is left running behind a demo that did not end
        with console.status("stopping every part"):
            background.stop(settings.directory)
        raise
    console.print(f"\n{time.monotonic() - started:.0f} s in all.")
    report.say_what_next(console, settings)
    return learnt and clean


def _learn_and_test(
    settings: Settings, file: Path, config: DemoConfig, python: Path, console: Console
) -> bool:
    tasks = config.case.tasks()
    client = ClickHouse(settings.clickhouse_config)
    source = TaskSource(source_config(settings, agent=config.case.agent, deadline_s=ATTEMPT_S))
    try:
        with work_process(file, settings.directory / "logs" / "work.log", python):
            console.rule("learning")
            chaos = Chaos(settings.directory, console) if config.chaos else nullcontext()
            with _feeding(source, tasks, config.seed) as check, chaos:
                follow_versions(settings, config.versions, client, console, check)
            if isinstance(chaos, Chaos):
                console.print(summary(chaos.killed))
                _await_ready(settings, console)
            console.rule("the test")
            items = tasks.heldout(config.heldout)
            versions = (0, config.versions)
            right = config.case.right
            test = evaluate(source, client, items, versions, settings.policy.name, right, console)
            _await_outcomes(settings, client, console)
    finally:
        source.close()
        client.close()
    report.show(console, settings, test, settings.directory / "demo.png")
    return test.paired.p_value < SIGNIFICANCE


def _await_outcomes(settings: Settings, client: ClickHouse, console: Console) -> None:
    """Let the last rollouts of training end, too, so that each sample has its outcome."""
    with console.status("waiting until the last rollouts have ended"):
        end = time.monotonic() + ENDED_S
        while time.monotonic() < end:
            (left,) = queries.ask(client, queries.UNSETTLED, policy=settings.policy.name)
            if left["rollouts"] == 0:
                return
            time.sleep(LOOK_S)


def _await_ready(settings: Settings, console: Console) -> None:
    """Until every part is back from the last time that it was killed; raises PartFailed."""
    with console.status("waiting until every part is back"):
        end = time.monotonic() + BACK_S
        while (status := read_status(settings.directory)) is not None:
            late = [part.name for part in status.parts if part.state is not State.READY]
            if not late:
                return
            if time.monotonic() > end:
                raise PartFailed(late[0], f"is not back after {BACK_S:.0f} s")
            time.sleep(LOOK_S)


def _audited(settings: Settings, console: Console) -> bool:
    """Compare the log with the tables and say what was found."""
    console.rule("the audit")
    with console.status("reading the log"):
        found = audit(settings)
    for line in lines(found):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    return found.clean


@contextmanager
def _feeding(source: TaskSource, tasks: Tasks, seed: int) -> Iterator[Callable[[], None]]:
    """Training tasks keep coming while the block runs; what it gives raises why they do not."""
    stop = threading.Event()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            source.run(tasks.train(seed), stop)
        except BaseException as error:  # handed to the demo's own thread
            failure.append(error)

    def check() -> None:
        if failure:
            raise failure[0]

    thread = threading.Thread(target=run, name="tasks", daemon=True)
    thread.start()
    try:
        yield check
    finally:
        stop.set()
        thread.join()
    check()
