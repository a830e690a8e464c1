"""examples/writer_checker on real parts: two agents of an episode, each trained by itself."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from examples.calculator.tasks import train
from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.runner import Runner
from headrace.connectors.tasks import TaskSource
from headrace.infra.embedded.models import tiny_llama
from headrace.infra.embedded.ports import free_port
from headrace.infra.launch.runners import runner_config, source_config
from headrace.infra.launch.running import running
from headrace.infra.settings import Settings, load
from tests.e2e.loop import in_thread
from tests.support.waiting import wait_until

EXAMPLE = Path(__file__).parents[2] / "examples" / "writer_checker"
AGENT = "examples.writer_checker.agent:run"
POLICIES = {"writer": "writer", "checker": "checker-policy"}
"""By the agent's name."""
VERSIONS = 2
SECONDS = 240.0


def settings_of(directory: Path) -> Settings:
    model = str(tiny_llama(directory / "model"))
    return load(
        EXAMPLE / "both.toml",
        environment={},
        overrides={
            "data": {"directory": str(directory / "data")},
            "kafka": {"port": free_port(), "controller_port": free_port()},
            "registry": {"port": free_port()},
            "clickhouse": {"port": free_port()},
            "gateway": {"port": free_port(), "max_batch": 16},
            "otlp": {"enabled": False},
            "console": {"enabled": False},
            "policy": {"model": model, "max_sequence": 512},
            "policies": {"checker-policy": model},
            "credit": {"rule": "two_agents_rewards:letters", "grace_ms": 3_000},
            "runner": {"processes": 1, "concurrency": 8},
            "trainer": {
                "group_size": 4,
                "groups_per_step": 1,
                "max_versions": VERSIONS,
                "learning_rate": 1e-3,
                "threads": 1,
            },
        },
    )


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """The tables after both policies were trained."""
    directory = tmp_path_factory.mktemp("two-agents")
    settings = settings_of(directory)
    tables = ClickHouse(settings.clickhouse_config)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(EXAMPLE.parents[1])
        patch.syspath_prepend(here := str(Path(__file__).parent))
        patch.setenv("PYTHONPATH", here, prepend=os.pathsep)
        patch.setenv("OMP_NUM_THREADS", "1")
        runner = Runner(runner_config(settings, name="two-agents"))
        source = TaskSource(source_config(settings, agent=AGENT, deadline_s=60.0))
        with running(settings, console=Console(quiet=True)), in_thread(runner.run):
            try:
                with in_thread(lambda stop: asking(source, stop)):
                    wait_until(lambda: trained(tables) == 2, "versions of both", SECONDS)
                wait_until(lambda: unended(tables) == 0, "the end of every rollout", SECONDS)
                yield tables
            finally:
                source.close()
                tables.close()


def asking(source: TaskSource, stop: threading.Event) -> None:
    source.run(train(1), stop)


def trained(tables: ClickHouse) -> Any:
    sql = f"SELECT count() AS n FROM policies FINAL WHERE version = {VERSIONS}"
    return tables.query(sql)[0]["n"]


def unended(tables: ClickHouse) -> int:
    sql = """
        SELECT count() AS n FROM samples
        WHERE sample_id NOT IN (SELECT sample_id FROM outcomes)
    """
    running = """
        SELECT count() AS n FROM tasks FINAL
        WHERE rollout_id NOT IN (SELECT rollout_id FROM outcomes)
    """
    return sum(int(str(tables.query(one)[0]["n"])) for one in (sql, running))


def test_each_agent_is_answered_by_its_policy(clickhouse: ClickHouse) -> None:
    rows = clickhouse.query("SELECT DISTINCT agent, policy FROM calls ORDER BY agent")
    assert {row["agent"]: row["policy"] for row in rows} == POLICIES
    assert len(rows) == 2


def test_each_policy_is_trained_on_its_agents_calls_alone(clickhouse: ClickHouse) -> None:
    rows = clickhouse.query(
        "SELECT DISTINCT agent, policy FROM outcomes FINAL WHERE outcome = 'trained' ORDER BY agent"
    )
    assert {row["agent"]: row["policy"] for row in rows} == POLICIES
    assert len(rows) == 2
    for policy in POLICIES.values():
        lineage = clickhouse.query(
            f"SELECT version, parent FROM policies FINAL WHERE policy = '{policy}' ORDER BY version"
        )
        assert [(one["version"], one["parent"]) for one in lineage] == [
            (version, version - 1) for version in range(VERSIONS + 1)
        ]


def test_every_sample_ends_once_by_its_own_policy(clickhouse: ClickHouse) -> None:
    rows = clickhouse.query(
        "SELECT s.agent AS agent, o.policy AS policy, count() AS n, uniqExact(s.sample_id) AS ids "
        "FROM samples AS s INNER JOIN (SELECT * FROM outcomes FINAL) AS o "
        "ON o.sample_id = s.sample_id GROUP BY agent, policy ORDER BY agent"
    )
    assert {row["agent"]: row["policy"] for row in rows} == POLICIES
    assert [row["n"] for row in rows] == [row["ids"] for row in rows]
    assert sum(int(str(row["n"])) for row in rows) == clickhouse.query(
        "SELECT count() AS n FROM samples"
    )[0]["n"]  # fmt: skip


def test_a_rollout_ends_once_with_the_policy_of_its_task(clickhouse: ClickHouse) -> None:
    rows = clickhouse.query(
        "SELECT rollout_id FROM outcomes FINAL WHERE sample_id = '' "
        "AND rollout_id IN (SELECT rollout_id FROM outcomes WHERE sample_id != '')"
    )
    assert rows == []


def test_the_agents_of_an_episode_have_its_credit_together(clickhouse: ClickHouse) -> None:
    rows = clickhouse.query(
        "SELECT rollout_id, uniqExact(agent) AS agents, uniqExact(advantage) AS advantages "
        "FROM samples WHERE trainable GROUP BY rollout_id"
    )
    assert {row["agents"] for row in rows} == {2}
    assert {row["advantages"] for row in rows} == {1}
