"""The drift demo, short: two versions, everything real, and its story in SQL."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from benchmarks.learning.one import LEFT_OUT, PORTS, ROOT

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig
from headrace.infra.cli.app import NO
from headrace.infra.demo import queries
from headrace.infra.demo.drift import story
from headrace.infra.embedded.ports import free_port
from headrace.infra.launch import background

SECONDS = 1_500
SMALL = {
    "HEADRACE_TRAINER_GROUP_SIZE": "4",
    "HEADRACE_TRAINER_GROUPS_PER_STEP": "2",
    "HEADRACE_CANARY_COMPARISONS": "4",
}
HELD_OUT = 8

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2 * SECONDS)]


@dataclass(kw_only=True, slots=True, frozen=True)
class Told:
    """What the demo said, and its tables afterwards."""

    code: int
    said: str
    client: ClickHouse

    def ask(self, query: str) -> list[queries.Row]:
        """Rows of a query of the story."""
        return queries.ask(self.client, query, policy="drift")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """The one run."""
    data = tmp_path_factory.mktemp("drift") / "data"
    ports = {f"HEADRACE_{name}_PORT": str(free_port()) for name in PORTS}
    environment = {**os.environ, **ports, **LEFT_OUT, **SMALL, "HEADRACE_DATA_DIRECTORY": str(data)}
    command = [sys.executable, "-m", "headrace.infra.cli", "demo", "drift"]
    try:
        done = subprocess.run(
            [*command, "--versions", "2", "--heldout", str(HELD_OUT)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        said = done.stdout + done.stderr
        assert done.returncode in (0, NO), said
        url = f"http://127.0.0.1:{ports['HEADRACE_CLICKHOUSE_PORT']}"
        client = ClickHouse(ClickHouseConfig(url=url))
        yield Told(code=done.returncode, said=said, client=client)
        client.close()
    finally:
        background.stop(data)


def test_the_exit_code_is_that_of_its_two_verdicts(told: Told) -> None:
    both = "The model got better." in told.said and "was rolled back." in told.said
    assert both == (told.code == 0), told.said


def test_what_users_asked_changed_after_the_first_version(told: Told) -> None:
    rows = told.ask(story.REWARDS)
    assert {row["topic"] for row in rows} == {"sums", "products"}
    [began] = {row["topic"] for row in rows if row["version"] == 0} - {"products"}
    assert began == "sums"


def test_every_reward_came_after_the_end_of_its_episode(told: Told) -> None:
    [row] = told.ask(story.FEEDBACK)
    [ended] = told.client.query("SELECT count() AS n FROM episodes FINAL WHERE status = 'ok'")
    assert 0 < row["judged"] <= ended["n"]
    assert row["least_s"] > 0


def test_two_versions_were_tried_and_sql_says_what_became_of_them(told: Told) -> None:
    rows = told.ask(story.TRAFFIC)
    assert {row["said_by"] for row in rows} == {"canary"}
    assert any(row["shares"].startswith("3=") for row in rows)
    assert rows[-1]["shares"] == ""
    assert f"version {rows[-1]['serves']}" in told.said


def test_held_out_questions_of_both_topics_were_asked_of_both_versions(told: Told) -> None:
    rows = told.ask(story.HELD_OUT)
    assert {(row["topic"], row["tasks"]) for row in rows} == {
        ("products", HELD_OUT),
        ("sums", HELD_OUT),
    }
    assert len(rows) == 4
    assert "pending" in told.said, told.said
