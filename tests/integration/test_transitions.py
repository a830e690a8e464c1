"""Transitions of known episodes: the view, the reader, the export and the page's example."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.infra.cli.app import NO, WRONG_USE, app
from headrace.infra.cli.export import export_app
from headrace.schemas import Episode, EpisodeCall, EpisodeReward
from headrace.streams.credit import Arrival, CreditMethod, GroupPatience, Groups
from headrace.streams.credit.store import GroupStore
from headrace.streams.reward import load_rule
from headrace.streams.transitions import COLUMNS, TOKENS, Wanted, read
from headrace.streams.transitions.read import PAGE_BYTES
from tests.docs.blocks import blocks

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

DATABASE = "transitions"
Row = dict[str, Any]

PAGE_EXAMPLE = (
    # span, kind, agent, parent, began, ended
    ("plan", "call", "planner", "", 0, 10),
    ("tool-a", "tool", "planner", "plan", 11, 50),
    ("tool-b", "tool", "planner", "plan", 11, 60),
    ("a1", "call", "researcher", "tool-a", 12, 20),
    ("b1", "call", "researcher", "tool-b", 13, 25),
    ("a2", "call", "researcher", "tool-a", 26, 30),
    ("b2", "call", "researcher", "tool-b", 27, 40),
    ("answer", "call", "planner", "", 61, 70),
)


@pytest.fixture
def clickhouse(stack: Stack) -> Iterator[ClickHouse]:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    migrate.apply(client)
    yield client
    client.command(f"DROP DATABASE {DATABASE}")
    client.close()


def store(
    clickhouse: ClickHouse, rollout: str, spans: tuple[tuple[object, ...], ...], **facts: object
) -> None:
    """Rows of an episode as the assemble stage leaves them."""
    names = ("span_id", "kind", "agent", "parent_id", "started_at", "ended_at")
    rows = [
        dict(zip(names, span, strict=True))
        | {
            "project": "default", "rollout_id": rollout, "attempt": "a", "name": "research",
            "input": f"asked {span[1]}", "output": f"said {span[0]}", "sampled_ids": [1, 2],
        }
        for span in spans
    ]  # fmt: skip
    clickhouse.insert_arrow("spans", pa.Table.from_pylist(rows))
    of = [span[1] for span in spans]
    row = {
        "project": "default", "rollout_id": rollout, "attempt": "a", "version": 9,
        "state": "closed", "policy": "p", "calls": of.count("call"), "tools": of.count("tool"),
        "log_last": 1_000, **facts,
    }  # fmt: skip
    clickhouse.insert_arrow("episodes", pa.Table.from_pylist([row]))


def credit(clickhouse: ClickHouse, rollout: str, rule: str = "span:right") -> None:
    """The group of the page's episode, as the credit stage leaves it."""
    calls = [s for s in sorted(PAGE_EXAMPLE, key=lambda s: s[4]) if s[1] == "call"]
    episode = Episode(
        rollout_id=rollout,
        attempt="a",
        group_id=rollout,
        version=9,
        status="ok",
        calls=[EpisodeCall(span_id=span[0], agent=span[2], trainable=True) for span in calls],
        rewards=[
            EpisodeReward(name="right", value=1.0),
            EpisodeReward(name="right", value=0.25, target="plan"),
        ],
    )
    chosen = load_rule(rule)
    groups = Groups(chosen, CreditMethod(), GroupPatience())
    arrivals = [Arrival(partition=0, log_time=1, episode=episode)]
    groups.needs(arrivals)
    groups.fold(arrivals)
    store = GroupStore(clickhouse, rule=chosen.id, credit=CreditMethod().id)
    store.write(store.rows(groups.settle()))


def rows_of(clickhouse: ClickHouse, **wanted: Any) -> list[Row]:
    return [row for batch in read(clickhouse, Wanted(**wanted)) for row in batch.to_pylist()]


def test_a_graph_of_agents_at_work_side_by_side(clickhouse: ClickHouse) -> None:
    store(clickhouse, "r", PAGE_EXAMPLE)
    credit(clickhouse, "r")
    rows = rows_of(clickhouse)
    assert [(row["step"], row["span_id"], row["reward"], row["next_id"]) for row in rows] == [
        (1, "plan", 0.25, "answer"),
        (2, "tool-a", None, "answer"),
        (3, "tool-b", None, "answer"),
        (4, "a1", 0.0, "a2"),
        (5, "b1", 0.0, "b2"),
        (6, "a2", 0.0, ""),
        (7, "b2", 0.0, ""),
        (8, "answer", 0.75, ""),
    ]
    assert [row["terminal"] for row in rows] == [row["next_id"] == "" for row in rows]
    assert {row["caller_id"] for row in rows if row["kind"] == "tool"} == {"plan"}
    assert {row["episode_reward"] for row in rows} == {1.0}
    # Equal prompts are two transitions.
    first, second = (row for row in rows if row["span_id"] in ("a1", "b1"))
    assert first["state"] == second["state"] == "asked call"
    assert (first["action"], second["action"]) == ("said a1", "said b1")
    tool = rows[1]
    assert (tool["name"], tool["state"]) == ("research", "")
    assert (tool["action"], tool["observation"]) == ("asked tool", "said tool-a")


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        pytest.param(
            (("c1", "call", "", "", 0, 5), ("c2", "call", "", "", 5, 9)),
            {"c1": "c2", "c2": ""},
            id="one after the other, without a moment between",
        ),
        pytest.param(
            tuple((f"c{n}", "call", "", "", 0, 0) for n in range(3)),
            {"c0": "c1", "c1": "c2", "c2": ""},
            id="spans without times are in the order of their ids",
        ),
        pytest.param(
            tuple((f"c{n}", "call", "a", f"step{n}", 10 * n, 10 * n + 5) for n in range(3)),
            {"c0": "c1", "c1": "c2", "c2": ""},
            id="each call under a step of its own",
        ),
        pytest.param(
            (
                ("c0", "call", "a", "", 0, 5),
                ("p1", "call", "a", "", 6, 20),
                ("p2", "call", "a", "", 6, 30),
                ("c3", "call", "a", "", 31, 40),
            ),
            {"c0": "p1", "p1": "c3", "p2": "c3", "c3": ""},
            id="calls side by side lead to one state",
        ),
        pytest.param(
            (
                ("c0", "call", "solver", "", 0, 5),
                ("j0", "call", "judge", "", 6, 9),
                ("t0", "tool", "solver", "", 7, 8),
                ("t1", "tool", "", "", 9, 9),
                ("c1", "call", "solver", "", 10, 15),
            ),
            {"c0": "c1", "j0": "", "t0": "c1", "t1": "", "c1": ""},
            id="agents in turn; a tool of nobody is of the last call",
        ),
    ],
)
def test_which_call_is_next(
    clickhouse: ClickHouse, spans: tuple[tuple[object, ...], ...], expected: dict[str, str]
) -> None:
    store(clickhouse, "r", spans)
    rows = rows_of(clickhouse)
    assert {row["span_id"]: row["next_id"] for row in rows} == expected
    assert {row["rule"] for row in rows} == {""}


def test_batches_are_what_was_wanted_and_nothing_else(clickhouse: ClickHouse) -> None:
    store(clickhouse, "r1", PAGE_EXAMPLE)
    store(clickhouse, "r2", PAGE_EXAMPLE, policy="q", log_last=2_000)
    store(clickhouse, "r3", PAGE_EXAMPLE, state="open")
    credit(clickhouse, "r1")
    credit(clickhouse, "r1", rule="span:right=2.0")

    def rollouts(**wanted: Any) -> list[str]:
        return sorted({row["rollout_id"] for row in rows_of(clickhouse, **wanted)})

    assert rollouts() == ["r1", "r2"]
    assert rollouts(policy="q") == ["r2"]
    assert rollouts(since=1_001) == ["r2"]
    assert rollouts(project="other") == []
    assert rollouts(rule="span:right=2.0@1") == ["r1"]
    twice = [row for row in rows_of(clickhouse, policy="p") if row["kind"] == "call"]
    assert len(twice) == 2 * len({row["span_id"] for row in twice})
    (batch, *_) = read(clickhouse, Wanted(tokens=True, policy="q"))
    assert tuple(batch.schema.names) == COLUMNS + TOKENS
    assert batch.column("sampled_ids").to_pylist()[0] == [1, 2]


def test_a_long_episode_comes_in_parts_that_are_bounded(clickhouse: ClickHouse) -> None:
    calls, text = 3_000, 40_000
    clickhouse.command(
        "INSERT INTO spans (project, rollout_id, attempt, span_id, kind, agent, started_at,"
        f" ended_at, input) SELECT 'default', 'long', 'a', leftPad(toString(number), 16, '0'),"
        f" 'call', 'a', number * 10, number * 10 + 5, repeat('x', {text}) FROM numbers({calls})"
    )
    row = {
        "project": "default", "rollout_id": "long", "attempt": "a", "version": 9,
        "state": "closed", "calls": calls, "log_last": 1_000,
    }  # fmt: skip
    clickhouse.insert_arrow("episodes", pa.Table.from_pylist([row]))
    steps: list[int] = []
    last = ""
    for batch in read(clickhouse, Wanted()):
        assert batch.nbytes <= 2 * PAGE_BYTES
        steps += batch.column("step").to_pylist()
        ids, following = (batch.column(name).to_pylist() for name in ("span_id", "next_id"))
        assert last in ("", ids[0])
        assert following[:-1] == ids[1:]
        last = following[-1]
    assert steps == list(range(1, calls + 1))
    assert last == ""


def test_an_export_is_a_file_of_whole_episodes(
    stack: Stack, clickhouse: ClickHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export_app.info.help
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_URL", stack.clickhouse_url)
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_DATABASE", DATABASE)
    monkeypatch.chdir(tmp_path)

    def export(*words: str) -> Any:
        command = ["export", "transitions", "--parquet", "transitions.parquet", *words]
        return CliRunner().invoke(app, command)

    nothing = export()
    assert (nothing.exit_code, list(tmp_path.iterdir())) == (NO, [])
    store(clickhouse, "r1", PAGE_EXAMPLE)
    store(clickhouse, "r2", PAGE_EXAMPLE)
    credit(clickhouse, "r1")
    done = export("--json", "--policy", "p", "--since", "1970-01-01T00:00:01+00:00")
    assert json.loads(done.stdout) == {"file": "transitions.parquet", "rows": 16}
    assert pq.read_table("transitions.parquet").to_pylist() == rows_of(clickhouse)
    assert [path.name for path in tmp_path.iterdir()] == ["transitions.parquet"]
    again = export("--tokens", "--rule", "span:right@1")
    assert again.output.startswith("8 transitions in transitions.parquet")
    assert pq.read_schema("transitions.parquet").names == list(COLUMNS + TOKENS)
    assert export("--since", "soon").exit_code == WRONG_USE


def test_the_example_of_the_page_runs_and_prints_what_it_says(
    stack: Stack, clickhouse: ClickHouse
) -> None:
    store(clickhouse, "r", PAGE_EXAMPLE)
    credit(clickhouse, "r")
    (block,) = [one for one in blocks("python") if one.page.endswith("transitions.md")]
    address = 'url="http://127.0.0.1:8123"'
    assert address in block.text
    code = block.text.replace(address, f'url="{stack.clickhouse_url}", database="{DATABASE}"')
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, {})
    lines = said.getvalue().splitlines()
    assert lines[0] == "1 plan said plan 0.25 answer"
    assert lines[-1] == "8 answer said answer 0.75 end"
    assert len(lines) == len(PAGE_EXAMPLE)
