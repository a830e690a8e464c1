"""The demo from start to finish."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.tasks import TaskSource
from headrace.infra.demo import report
from headrace.infra.demo.cases import Case, Tasks
from headrace.infra.demo.evaluation import evaluate
from headrace.infra.demo.follow import follow_versions
from headrace.infra.demo.workplace import prepare
from headrace.infra.launch import background
from headrace.infra.launch.runners import source_config, work_process
from headrace.infra.launch.running import check_ports, fetch
from headrace.infra.settings import Settings

SIGNIFICANCE = 0.01
ATTEMPT_S = 300.0


@dataclass(kw_only=True, slots=True, frozen=True)
class DemoConfig:
    """How long the demo trains and how hard it is tested."""

    case: Case
    """What learns."""
    versions: int
    """Policy versions to train."""
    heldout: int = 64
    """Held-out questions, asked of the first and of the last version."""


def run_demo(settings: Settings, config: DemoConfig, console: Console) -> bool:
    """Run the demo; True if the last version beats the first with p < 0.01.

    Ctrl-C stops every part and is raised on.
    """
    started = time.monotonic()
    overrides = {name: dict(values) for name, values in config.case.settings().items()}
    overrides.setdefault("trainer", {})["max_versions"] = config.versions
    python = config.case.python
    settings, file = prepare(settings, overrides)
    check_ports(settings)
    console.rule("the parts")
    fetch(settings, console)
    try:
        background.start(console, settings.directory, settings=file)
        learnt = _learn_and_test(settings, file, config, python, console)
    except BaseException:  # Ctrl-C too: nothing is left running behind a demo that did not end
        with console.status("stopping every part"):
            background.stop(settings.directory)
        raise
    console.print(f"\n{time.monotonic() - started:.0f} s in all.")
    report.say_what_next(console, settings)
    return learnt


def _learn_and_test(
    settings: Settings, file: Path, config: DemoConfig, python: Path, console: Console
) -> bool:
    tasks = config.case.tasks()
    client = ClickHouse(settings.clickhouse_config)
    source = TaskSource(source_config(settings, agent=config.case.agent, deadline_s=ATTEMPT_S))
    try:
        with work_process(file, settings.directory / "logs" / "work.log", python):
            console.rule("learning")
            with _feeding(source, tasks):
                follow_versions(settings, config.versions, client, console)
            console.rule("the test")
            items = tasks.heldout(config.heldout)
            versions = (0, config.versions)
            test = evaluate(source, client, items, versions, settings.policy.name, console)
    finally:
        source.close()
        client.close()
    report.show(console, settings, test, settings.directory / "demo.png")
    return test.paired.p_value < SIGNIFICANCE


@contextmanager
def _feeding(source: TaskSource, tasks: Tasks) -> Iterator[None]:
    """Training tasks keep coming while the block runs."""
    stop = threading.Event()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            source.run(tasks.train(seed=0), stop)
        except BaseException as error:  # handed to the demo's own thread
            failure.append(error)

    thread = threading.Thread(target=run, name="tasks", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failure:
        raise failure[0]
