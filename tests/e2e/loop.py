"""A loop on real parts that trains a tiny model for a few versions."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.runner import Runner, RunnerConfig
from headrace.connectors.tasks import TaskItem, TaskSource, TaskSourceConfig
from headrace.infra.embedded.models import tiny_llama
from headrace.infra.embedded.ports import free_port
from headrace.infra.launch.running import running
from headrace.infra.settings import Settings, load
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.supervise import Supervisor

POLICY, RULE = "tiny", "variety@3"
GROUP, GROUPS_PER_STEP, STALENESS, VERSIONS = 4, 2, 1, 3
HELD_OUT = 3
DEADLINE_S = 30.0
"""A group whose agents crashed has no rewards, and is decided when they can come no more."""
SECONDS = 240.0
PAUSE_S = 0.2


@dataclass(kw_only=True, slots=True, frozen=True)
class Loop:
    """A loop that has trained its versions, and whose every rollout has ended."""

    settings: Settings
    clickhouse: ClickHouse
    supervisor: Supervisor
    evaluated: dict[int, list[str]]
    """Held-out rollouts by the version they were pinned to."""

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self.clickhouse.query(sql)

    def one(self, sql: str) -> Any:
        (row,) = self.rows(sql)
        (value,) = row.values()
        return value


def settings_of(directory: Path) -> Settings:
    return load(
        environment={},
        overrides={
            "data": {"directory": str(directory / "data")},
            "kafka": {"port": free_port(), "controller_port": free_port()},
            "registry": {"port": free_port()},
            "clickhouse": {"port": free_port()},
            "gateway": {"port": free_port(), "max_batch": 16},
            "otlp": {"port": free_port()},
            "console": {"port": free_port()},
            "policy": {"name": POLICY, "model": str(tiny_llama(directory / "model"))},
            "credit": {
                "rule": "loop_rewards:variety",
                "grace_ms": 3_000,
            },
            "agents": {"writer": POLICY, "critic": "frozen"},
            "trainer": {
                "group_size": GROUP,
                "groups_per_step": GROUPS_PER_STEP,
                "max_staleness": STALENESS,
                "max_versions": VERSIONS,
                "learning_rate": 1e-3,
                "threads": 1,
            },
        },
    )


def tasks() -> Iterator[TaskItem]:
    """Every fifth group asks for something at which all its agents crash."""
    for number in itertools.count(1):
        yield TaskItem(input={"topic": f"thing {number}", "crash": number % 5 == 2})


@contextmanager
def in_thread(run: Callable[[threading.Event], None]) -> Iterator[None]:
    stop, failures = threading.Event(), list[BaseException]()

    def guarded() -> None:
        try:
            run(stop)
        except BaseException as error:  # handed to the test
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


@contextmanager
def trained_loop(directory: Path) -> Iterator[Loop]:
    """Run it until its last version and the end of every rollout; its parts stay up."""
    settings = settings_of(directory)
    runner = Runner(
        RunnerConfig(
            kafka=KafkaAccess(bootstrap=settings.bootstrap),
            registry=RegistryAccess(url=settings.registry_url),
            gateway_url=settings.gateway_url,
            processes=1,
            concurrency=8,
            attempt_timeout_s=DEADLINE_S,
            spool_directory=directory / "spool",
        )
    )
    source = TaskSource(
        TaskSourceConfig(
            kafka=KafkaAccess(bootstrap=settings.bootstrap),
            registry=RegistryAccess(url=settings.registry_url),
            policy=POLICY,
            agent="loop_agent:run",
            group_size=GROUP,
            rollouts_per_step=GROUP * GROUPS_PER_STEP,
            max_staleness=STALENESS,
            deadline_s=DEADLINE_S,
        )
    )
    clickhouse = ClickHouse(settings.clickhouse_config)
    console = Console(quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        # Where the runner's processes find the agent, and the credit stage its rule.
        here = str(Path(__file__).parent)
        patch.syspath_prepend(here)
        patch.setenv("PYTHONPATH", here, prepend=os.pathsep)
        patch.setenv("OMP_NUM_THREADS", "1")
        with running(settings, console=console) as supervisor, in_thread(runner.run):
            try:
                with in_thread(lambda stop: source.run(tasks(), stop)):
                    await_version(clickhouse, VERSIONS)
                items = [TaskItem(input={"topic": f"held out {n}"}) for n in range(HELD_OUT)]
                evaluated = {version: source.send_eval(items, version) for version in (0, VERSIONS)}
                await_all_outcomes(clickhouse)
                yield Loop(
                    settings=settings,
                    clickhouse=clickhouse,
                    supervisor=supervisor,
                    evaluated=evaluated,
                )
            finally:
                source.close()
                clickhouse.close()


def await_version(clickhouse: ClickHouse, version: int) -> None:
    sql = f"SELECT count() AS n FROM policies FINAL WHERE version = {version}"
    wait_until(
        lambda: clickhouse.query(sql)[0]["n"] == 1, f"version {version}", SECONDS, pause_s=PAUSE_S
    )


def await_all_outcomes(clickhouse: ClickHouse) -> None:
    sql = """
        SELECT count() AS open FROM tasks FINAL
        WHERE rollout_id NOT IN (SELECT rollout_id FROM outcomes)
    """
    admitted = "SELECT count() AS n FROM tasks FINAL WHERE split = 'eval'"
    wait_until(
        lambda: (
            clickhouse.query(admitted)[0]["n"] == 2 * HELD_OUT
            and clickhouse.query(sql)[0]["open"] == 0
        ),
        "the end of every rollout",
        SECONDS,
        pause_s=PAUSE_S,
    )
