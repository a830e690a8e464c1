"""The demo from start to finish."""

import sys
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
from headrace.infra.demo.evaluation import evaluate
from headrace.infra.demo.follow import follow_versions
from headrace.infra.demo.workplace import prepare
from headrace.infra.errors import SetupError
from headrace.infra.launch import background
from headrace.infra.launch.runners import source_config, work_process
from headrace.infra.launch.running import check_ports, fetch
from headrace.infra.settings import Settings

AGENT = "examples.calculator.agent:run"
SIGNIFICANCE = 0.01
ATTEMPT_S = 300.0


@dataclass(kw_only=True, slots=True, frozen=True)
class DemoConfig:
    """How long the demo trains and how hard it is tested."""

    versions: int = 10
    """Policy versions to train."""
    heldout: int = 64
    """Held-out questions, asked of the first and of the last version."""


def run_demo(settings: Settings, config: DemoConfig, console: Console) -> bool:
    """Run the demo; True if the last version beats the first with p < 0.01.

    Ctrl-C stops every part and is raised on.
    """
    started = time.monotonic()
    _find_example()
    settings, file = prepare(settings, {"trainer": {"max_versions": config.versions}})
    check_ports(settings)
    console.rule("the parts")
    fetch(settings, console)
    try:
        background.start(console, settings.directory, settings=file)
        learnt = _learn_and_test(settings, file, config, console)
    except BaseException:  # Ctrl-C too: nothing is left running behind a demo that did not end
        with console.status("stopping every part"):
            background.stop(settings.directory)
        raise
    console.print(f"\n{time.monotonic() - started:.0f} s in all.")
    report.say_what_next(console, settings)
    return learnt


def _find_example() -> None:
    """Make `examples` importable; raises SetupError outside a checkout."""
    here = Path.cwd()
    if not (here / "examples" / "calculator" / "agent.py").exists():
        raise SetupError(
            "the demo's agent is in examples/calculator of headrace's repository: run "
            "`headrace demo` in a clone of it"
        )
    if str(here) not in sys.path:
        sys.path.append(str(here))


def _learn_and_test(settings: Settings, file: Path, config: DemoConfig, console: Console) -> bool:
    client = ClickHouse(settings.clickhouse_config)
    source = TaskSource(source_config(settings, agent=AGENT, deadline_s=ATTEMPT_S))
    try:
        with work_process(file, settings.directory / "logs" / "work.log"):
            console.rule("learning")
            with _tasks(source, settings):
                follow_versions(settings, config.versions, client, console)
            console.rule("the test")
            test = evaluate(source, client, config.heldout, config.versions, console)
    finally:
        source.close()
        client.close()
    report.show(console, settings, test, settings.directory / "demo.png")
    return test.paired.p_value < SIGNIFICANCE


@contextmanager
def _tasks(source: TaskSource, settings: Settings) -> Iterator[None]:
    """Training tasks keep coming while the block runs."""
    from examples.calculator.tasks import train

    stop = threading.Event()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            source.run(train(seed=0), stop)
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
