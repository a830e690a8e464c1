"""An agent of LangGraph, as it is, is trained: its calls of tools are samples of the trainer.

The real model, the real framework in an environment of its own, every part of the loop. Run by
`make framework-loop`.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.runner import CommandAgent, Runner
from headrace.connectors.tasks import TaskItem, TaskSource
from headrace.infra.embedded.ports import free_port
from headrace.infra.launch.runners import runner_config, source_config
from headrace.infra.launch.running import running
from headrace.infra.settings import Settings, load
from tests.e2e.loop import in_thread
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-frameworks" / "langchain" / "bin" / "python"
AGENT = ROOT / "examples" / "frameworks" / "langchain" / "few_shot.py"
POLICY, GROUP, GROUPS_PER_STEP, VERSIONS = "mathematician", 4, 2, 1
MINUTES = 10
"""That a step may take beside other work."""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(2 * 60 * MINUTES),
    pytest.mark.skipif(
        not PYTHON.exists(), reason="LangChain has no environment: make framework-loop"
    ),
    pytest.mark.skipif(
        os.environ.get("HEADRACE_FRAMEWORK_LOOP") != "1", reason="minutes: make framework-loop"
    ),
]


def settings_of(directory: Path) -> Settings:
    return load(
        environment={},
        overrides={
            "data": {"directory": str(directory / "data")},
            "kafka": {"port": free_port(), "controller_port": free_port()},
            "registry": {"port": free_port()},
            "clickhouse": {"port": free_port()},
            "gateway": {"port": free_port()},
            "otlp": {"port": free_port()},
            "policy": {"name": POLICY},
            "credit": {"rule": "loop_rewards:answered"},
            "trainer": {
                "group_size": GROUP,
                "groups_per_step": GROUPS_PER_STEP,
                "max_staleness": 1,
                "max_versions": VERSIONS,
                "threads": 1,
            },
        },
    )


def tasks() -> Iterator[TaskItem]:
    for number in itertools.count():
        a, b = 12 + number % 7, 4 + number % 5
        yield TaskItem(input=f"What is {a} times {b}?", expected=str(a * b))


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """The tables of a loop that has trained its versions."""
    settings = settings_of(tmp_path_factory.mktemp("langchain"))
    agent = CommandAgent(words=(*shlex.split(f"{PYTHON} {AGENT}"), "{input}"))
    runner = Runner(runner_config(settings, command=agent, concurrency=3))
    source = TaskSource(source_config(settings, deadline_s=120))
    tables = ClickHouse(settings.clickhouse_config)
    with pytest.MonkeyPatch.context() as patch:
        here = str(Path(__file__).parent)
        patch.syspath_prepend(here)
        patch.setenv("PYTHONPATH", here, prepend=os.pathsep)
        console = Console(quiet=True)
        with running(settings, console=console), in_thread(runner.run):
            try:
                with in_thread(lambda stop: source.run(tasks(), stop)):
                    wait_until(lambda: is_trained(tables), "a version", 60 * MINUTES, pause_s=1.0)
                yield tables
            finally:
                source.close()
                tables.close()


def is_trained(tables: ClickHouse) -> bool:
    return bool(one(tables, f"SELECT count() AS n FROM policies FINAL WHERE version = {VERSIONS}"))


def one(clickhouse: ClickHouse, sql: str) -> Any:
    (row,) = clickhouse.query(sql)
    (value,) = row.values()
    return value


def test_its_calls_of_tools_were_trained(clickhouse: ClickHouse) -> None:
    trained = """
        SELECT count() AS n FROM outcomes AS o FINAL
        JOIN calls AS c ON o.sample_id = concat(c.call_id, '/0')
        WHERE o.outcome = 'trained' AND c.finish_reason = 'tool_calls'
    """
    assert int(one(clickhouse, trained)) > 0


def test_a_turn_goes_on_from_the_tokens_of_the_turn_before(clickhouse: ClickHouse) -> None:
    sql = """
        SELECT JSONExtractString(attributes, 'headrace.prompt') AS how, count() AS n
        FROM spans FINAL WHERE kind = 'call' GROUP BY how
    """
    counts: dict[Any, Any] = {row["how"]: row["n"] for row in clickhouse.query(sql)}
    assert set(counts) <= {"new", "extended"}
    assert counts["extended"] > 0


def test_its_tools_are_spans_of_the_episode(clickhouse: ClickHouse) -> None:
    sql = """
        SELECT DISTINCT name, status, input != '' AS has_input, output != '' AS has_output
        FROM spans FINAL WHERE kind = 'tool' AND status != 'error'
    """
    names = {row["name"]: row for row in clickhouse.query(sql)}
    assert names["multiply"]["has_input"]
    assert names["multiply"]["has_output"]


def test_each_call_is_one_span_of_the_named_agent(clickhouse: ClickHouse) -> None:
    doubled = """
        SELECT count() AS n FROM (
            SELECT response_id FROM spans FINAL WHERE kind = 'call' GROUP BY response_id
            HAVING count() > 1
        )
    """
    assert one(clickhouse, doubled) == 0
    agents = clickhouse.query("SELECT DISTINCT agent FROM calls")
    assert [row["agent"] for row in agents] == ["mathematician"]
