"""The demo from start to finish."""

import time
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.tasks import TaskSource
from headrace.infra.audit import audit
from headrace.infra.audit.told import lines
from headrace.infra.demo import report
from headrace.infra.demo.chaos import Chaos, summary
from headrace.infra.demo.config import ATTEMPT_S, SIGNIFICANCE, DemoConfig
from headrace.infra.demo.drift import learn_through_drift
from headrace.infra.demo.evaluation import evaluate
from headrace.infra.demo.feeding import await_outcomes, feeding
from headrace.infra.demo.follow import follow_versions
from headrace.infra.demo.workplace import prepare
from headrace.infra.errors import PartFailed
from headrace.infra.launch import background
from headrace.infra.launch.runners import source_config, work_process
from headrace.infra.launch.running import check_ports, fetch
from headrace.infra.settings import Settings
from headrace.infra.supervise import State, read_status

BACK_S = 120.0
LOOK_S = 0.5


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
        learn = learn_through_drift if config.case.drifts else _learn_and_test
        learnt = learn(settings, file, config, python, console)
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
            with feeding(source, tasks.train(config.seed)) as check, chaos:
                follow_versions(settings, config.versions, client, console, check)
            if isinstance(chaos, Chaos):
                console.print(summary(chaos.killed))
                _await_ready(settings, console)
            console.rule("the test")
            items = tasks.heldout(config.heldout)
            versions = (0, config.versions)
            right = config.case.right
            test = evaluate(source, client, items, versions, settings.policy.name, right, console)
            await_outcomes(settings, client, console)
    finally:
        source.close()
        client.close()
    report.show(console, settings, test, settings.directory / "demo.png")
    return test.paired.p_value < SIGNIFICANCE


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
