"""Feedback given at a page: who may, what is refused, and how a gateway that is away is told."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks.console import seed
from starlette.testclient import TestClient

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.infra.console.app import application
from headrace.infra.console.gateway import Gateway
from headrace.infra.console.keys import Door, KeyFile
from headrace.infra.console.roles import Role

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

DATABASE = "console_feedback"
HERE = "http://127.0.0.1:8090"
KEY = {"project": "p", "rollout_id": "r", "attempt": "a"}
GIVEN = "00000000000000aa"
PAGE = "/episodes/p/r/a"
FORM = {"project": "p", "rollout": "r", "attempt": "a", "id": "f1", "name": "thumbs", "value": "1"}


class Answers(http.server.BaseHTTPRequestHandler):
    """A server that answers as the gateway's page says, with the status it was told."""

    status = 200
    asked: list[tuple[dict[str, str], dict[str, Any]]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(({k.lower(): v for k, v in self.headers.items()}, body))
        said = {"id": GIVEN} if self.status == 200 else {"error": {"message": "as it is"}}
        text = json.dumps(said).encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing is told on stderr."""


@pytest.fixture
def answers() -> Iterator[tuple[type[Answers], str]]:
    kind = type("Told", (Answers,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield kind, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def clickhouse(stack: Stack) -> Iterator[ClickHouse]:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    migrate.apply(client)
    yield client
    client.command(f"DROP DATABASE {DATABASE}")
    client.close()


def put(client: ClickHouse, table: str, **row: Any) -> None:
    client.insert_arrow(table, seed.table_of(table, [row]))


@pytest.fixture
def episode(clickhouse: ClickHouse) -> ClickHouse:
    """A closed episode of two spans in a group of one, credited."""
    for table in ("spans", "episodes", "groups"):
        clickhouse.command(f"TRUNCATE TABLE {table}")
    for number in (1, 2):
        put(
            clickhouse,
            "spans",
            **KEY,
            span_id=f"s{number}",
            kind="call",
            offset=number,
            ver=-number,
        )
    closed(clickhouse, spans=2)
    credited(clickhouse, version=5, reward=0.25)
    return clickhouse


def closed(client: ClickHouse, spans: int) -> None:
    put(client, "episodes", **KEY, version=2 * spans + 1, state="closed", n_spans=spans,
        group_id="g", complete=True, log_last=9)  # fmt: skip


def credited(client: ClickHouse, version: int, reward: float) -> None:
    member = {"rollout_id": "r", "attempt": "a", "status": "used", "reward": reward,
              "advantage": reward, "episode_version": version, "log_time": 1}  # fmt: skip
    put(client, "groups", project="p", group_id="g", rule="r@1", credit="c@1", state="final",
        row_version=2 * version + 1, version=version, members=[member], log_last=9)  # fmt: skip


def test_feedback_goes_to_the_gateway_with_its_key_and_comes_back_to_the_page(
    episode: ClickHouse, answers: tuple[type[Answers], str]
) -> None:
    kind, url = answers
    app = application(episode, gateway=Gateway(url, lambda project: f"key-of-{project}"))
    with TestClient(app, base_url=HERE, follow_redirects=False) as page:
        shown = page.get(PAGE).text
        assert shown.count('action="/feedback"') == 2
        answer = page.post("/feedback", data={**FORM, "kept": "policy=q"})
        assert answer.status_code == 303
        assert answer.headers["location"] == f"{PAGE}?gave={GIVEN}&policy=q#feedback"
    ((headers, body),) = kind.asked
    assert headers["authorization"] == "Bearer key-of-p"
    assert headers["x-headrace-project"] == "p"
    assert body == {
        "episode": "r/a", "name": "thumbs", "value": 1.0, "source": "console", "id": "console-f1",
    }  # fmt: skip


def test_the_page_waits_for_its_own_row_and_then_for_the_credit_it_revised(
    episode: ClickHouse,
) -> None:
    app = application(episode)
    with TestClient(app, base_url=HERE) as page:

        def shown() -> str:
            return page.get(f"{PAGE}?gave={GIVEN}").text

        # Another one's row is not its own.
        put(episode, "spans", **KEY, span_id="other", kind="reward", reward_name="thumbs",
            reward_value=-1.0, offset=3, ver=-3)  # fmt: skip
        closed(episode, spans=3)
        credited(episode, version=7, reward=-1.0)
        assert "its row is awaited" in shown()
        put(episode, "spans", **KEY, span_id=GIVEN, kind="reward", reward_name="thumbs",
            reward_value=0.5, reward_source="console:ann", offset=4, ver=-4)  # fmt: skip
        assert "the credit of its group is awaited" in shown()
        closed(episode, spans=4)
        assert "the credit of its group is awaited" in shown()
        credited(episode, version=9, reward=0.5)
        assert "is part of the credit: reward 0.500, advantage +0.500" in shown()
        given = page.get(f"/json{PAGE}").json()["given"]
        assert {row["span_id"]: row["credited"] for row in given} == {GIVEN: True, "other": True}
        assert given[0]["source"] == "console:ann"


def test_only_an_annotator_gives_feedback_and_is_named_as_its_source(
    episode: ClickHouse, answers: tuple[type[Answers], str], tmp_path: Path
) -> None:
    kind, url = answers
    file = KeyFile(tmp_path / "keys.json")
    keys = {role: file.add(f"a-{role}", role) for role in Role}
    app = application(episode, door=Door(file, is_open=True), gateway=Gateway(url, lambda _: ""))
    with TestClient(app, base_url=HERE, follow_redirects=False) as page:
        for role, key in keys.items():
            bearer = {"authorization": f"Bearer {key}"}
            may = role.opens(Role.ANNOTATOR)
            assert page.post("/feedback", data=FORM, headers=bearer).status_code == (
                303 if may else 403
            )
            if role.opens(Role.VIEWER):
                assert ('action="/feedback"' in page.get(PAGE, headers=bearer).text) == may
        assert page.post("/feedback", data=FORM).status_code == 401
        bearer = {"authorization": f"Bearer {keys[Role.SQL]}"}
        foreign = {**bearer, "origin": "https://evil.example"}
        assert page.post("/feedback", data=FORM, headers=foreign).status_code == 403
    assert [body["source"] for _, body in kind.asked] == ["console:a-annotator", "console:a-sql"]
    assert all("authorization" not in headers for headers, _ in kind.asked)


@pytest.mark.parametrize(
    ("field", "value"),
    [("value", "nan"), ("value", "much"), ("value", ""), ("name", " "), ("rollout", "")],
)
def test_what_can_be_no_feedback_is_not_sent(
    episode: ClickHouse, answers: tuple[type[Answers], str], field: str, value: str
) -> None:
    kind, url = answers
    app = application(episode, gateway=Gateway(url, lambda _: ""))
    with TestClient(app, base_url=HERE) as page:
        assert page.post("/feedback", data={**FORM, field: value}).status_code == 400
    assert kind.asked == []


@pytest.mark.parametrize(
    ("status", "shown", "said"),
    [
        (400, 400, "as it is"), (404, 404, "as it is"),
        (401, 503, "does not let the console in: as it is. See [gateway] keys"),
        (429, 503, "(429): as it is"), (503, 503, "(503): as it is"),
    ],
)  # fmt: skip
def test_what_the_gateway_says_is_told(
    episode: ClickHouse,
    answers: tuple[type[Answers], str],
    status: int,
    shown: int,
    said: str,
) -> None:
    kind, url = answers
    kind.status = status
    app = application(episode, gateway=Gateway(url, lambda _: ""))
    with TestClient(app, base_url=HERE) as page:
        answer = page.post("/feedback", data=FORM)
    assert answer.status_code == shown
    assert said in answer.text
    assert "under the same form it counts once" in answer.text


def test_a_gateway_that_is_away_is_told(episode: ClickHouse) -> None:
    app = application(episode, gateway=Gateway("http://127.0.0.1:1", lambda _: ""))
    with TestClient(app, base_url=HERE) as page:
        answer = page.post("/feedback", data=FORM)
    assert answer.status_code == 503
    assert "The feedback is on no record" in answer.text
    assert "the gateway at http://127.0.0.1:1 does not answer" in answer.text
