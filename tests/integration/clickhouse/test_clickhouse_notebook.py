"""The analyst's notebook answers, cell by cell, without a notebook server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from examples.analyst.make_notebook import NOTEBOOK, SOURCE, notebook_of
from headrace.connectors.clickhouse import migrate
from tests.integration.clickhouse.server_process import Server
from tests.integration.clickhouse.story import tell

DATABASE = "notebook"


@pytest.fixture
def story(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    client = server.client(database=DATABASE)
    migrate.apply(client)
    tell(client)
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_URL", server.url)
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_DATABASE", DATABASE)
    monkeypatch.setenv("HEADRACE_POLICY_NAME", "a")
    yield
    client.command(f"DROP DATABASE {DATABASE}")
    client.close()


def test_the_notebook_is_made_of_its_source() -> None:
    made = notebook_of(SOURCE.read_text(encoding="utf-8"))
    assert NOTEBOOK.read_text(encoding="utf-8") == made, (
        "make it again: python examples/analyst/make_notebook.py"
    )
    ids = [cell["id"] for cell in json.loads(made)["cells"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.usefixtures("story")
def test_every_cell_runs_and_finds_what_the_story_tells(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), found)
    found["client"].close()
    assert all(row["balanced"] for row in found["balance"])
    assert found["newest"] == 2
    assert "1 better, 0 worse, p = 1.000" in capsys.readouterr().out
    assert {row["rollout_id"]: row["revised"] for row in found["lineage"]} == {
        "r3": True,
        "r4": True,
    }
    assert [(row["name"], row["mean"]) for row in found["known"]] == [("thumbs", 1.0)]
    assert len(found["ancestry"]) == 2
    assert found["curve"]
    assert found["dimensions"]
    assert found["outcomes"]
    assert found["cost"]
