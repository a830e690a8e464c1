"""The course of a demo that drifts: learn, change, learn again, try a good and a bad version."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.tasks import TaskItem, TaskSource
from headrace.infra.canary.moves import Did
from headrace.infra.demo import report
from headrace.infra.demo.config import ATTEMPT_S, SIGNIFICANCE, DemoConfig
from headrace.infra.demo.drift.bad import publish_bad
from headrace.infra.demo.drift.beside import Canary, judging
from headrace.infra.demo.drift.parts import DriftingTasks, drifting_tasks
from headrace.infra.demo.drift.story import tell
from headrace.infra.demo.evaluation import HeldOut, asked, outcome
from headrace.infra.demo.feeding import await_outcomes, feeding
from headrace.infra.demo.follow import follow_versions
from headrace.infra.launch.runners import source_config, work_process
from headrace.infra.settings import Settings


def learn_through_drift(
    settings: Settings, file: Path, config: DemoConfig, python: Path, console: Console
) -> bool:
    """True if the version served at the end solves more of what is asked since the change than the
    one served at the change, with p < 0.01, and the bad version was rolled back."""
    client = ClickHouse(settings.clickhouse_config)
    source = TaskSource(source_config(settings, agent=config.case.agent, deadline_s=ATTEMPT_S))
    log = settings.directory / "logs" / "work.log"
    tasks, policy = drifting_tasks(config.case), settings.policy.name
    try:
        with work_process(file, log, python), judging(settings, config.case):
            canary = _learn(settings, config, tasks, source, client, console)
            console.rule("the test")
            new, old = tasks.heldout(config.heldout), tasks.heldout_before(config.heldout)
            versions = (changed_at(config.versions), canary.serving)
            if versions[0] == versions[1]:
                console.print(f"version {versions[0]} is served still: there is nothing to compare")
                return False
            rows = asked(source, client, [*new, *old], versions, policy, console)
            await_outcomes(settings, client, console)
        after, before = (
            _outcome_of(items, client, rows, versions, config.case.right) for items in (new, old)
        )
    finally:
        source.close()
        client.close()
    report.show(console, settings, after, settings.directory / "demo.png")
    bad = config.versions + 1
    tell(console, settings, before, (bad, canary.ended.get(bad)))
    return after.paired.p_value < SIGNIFICANCE and canary.ended.get(bad) == Did.ROLLED_BACK


def changed_at(versions: int) -> int:
    """The version after which users ask something else."""
    return max(1, versions // 3)


def _learn(
    settings: Settings,
    config: DemoConfig,
    tasks: DriftingTasks,
    source: TaskSource,
    client: ClickHouse,
    console: Console,
) -> Canary:
    """Train all versions; then the last one and a bad one are tried."""
    change, last = changed_at(config.versions), config.versions
    changed = threading.Event()
    canary = Canary(settings, console)
    console.rule("learning")
    with feeding(source, _drawn(tasks, config.seed, changed)) as check:
        follow_versions(settings, change, client, console, check)
        changed.set()
        console.print("from now on users ask something else")
        follow_versions(settings, last - 1, client, console, check, after=change)
        with canary.watching():
            follow_versions(settings, last, client, console, check, after=last - 1)
            canary.await_end(last, check)
            publish_bad(settings, canary.serving, last + 1)
            console.print(f"version {last + 1}: noise on the weights of version {canary.serving}")
            canary.await_end(last + 1, check)
    return canary


def _drawn(tasks: DriftingTasks, seed: int, changed: threading.Event) -> Iterator[TaskItem]:
    """Tasks as before the change, until it comes."""
    before, after = tasks.train(seed), tasks.train_after(seed)
    while True:
        yield next(after if changed.is_set() else before)


def _outcome_of(
    items: Sequence[TaskItem],
    client: ClickHouse,
    rows: Sequence[Mapping[str, Any]],
    versions: tuple[int, int],
    right: float,
) -> HeldOut:
    """The test of some of the items that were asked."""
    questions = {str(item.input["question"]) for item in items}
    own = [row for row in rows if json.loads(row["input"])["question"] in questions]
    return outcome(client, own, versions, right)
