"""The drift example: what users ask before and after the change, and what they say of answers."""

import itertools
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest

from examples.calculator.agent import calculate
from examples.drift.rewards import drift
from examples.drift.tasks import heldout, heldout_before, train, train_after
from examples.drift.users import Users
from headrace.connectors.tasks import TaskItem
from headrace.schemas import Episode, EpisodeReward
from headrace.streams.reward import evaluate

SIDES = pytest.mark.parametrize(
    ("trained", "held_out", "sign"),
    [(train, heldout_before, "+-"), (train_after, heldout, "*")],
    ids=["before", "after"],
)


@SIDES
def test_what_is_right_is_what_the_question_means(
    trained: Callable[[int], Iterator[TaskItem]],
    held_out: Callable[[int], list[TaskItem]],
    sign: str,
) -> None:
    for item in [*itertools.islice(trained(0), 20), *held_out(20)]:
        a, b = (int(part) for part in item.input["question"].rstrip("?.").split() if part.isdigit())
        assert item.expected in {calculate(f"{a} {each} {b}") for each in sign}


@SIDES
def test_no_question_that_is_held_out_is_trained(
    trained: Callable[[int], Iterator[TaskItem]],
    held_out: Callable[[int], list[TaskItem]],
    sign: str,
) -> None:
    asked = {item.input["question"] for item in itertools.islice(trained(1), 2000)}
    kept = {item.input["question"] for item in held_out(1024)}
    assert len(kept) == 1024
    assert not asked & kept
    assert held_out(8) == held_out(16)[:8]


def test_both_topics_are_told_apart_in_sql() -> None:
    topics = [{item.input["topic"] for item in items} for items in (heldout(8), heldout_before(8))]
    assert topics == [{"products"}, {"sums"}]


def test_the_reward_is_awaited_until_a_user_has_spoken() -> None:
    silent = evaluate(drift, Episode(status="ok"))
    assert (silent.value, silent.pending) == (None, True)


def test_the_last_word_counts_and_a_crash_waits_for_nobody() -> None:
    said = [EpisodeReward(name="thumbs", value=value) for value in (0.0, 1.0)]
    assert evaluate(drift, Episode(status="ok", rewards=said)).value == 1.0
    assert evaluate(drift, Episode(status="error")).value == 0.0


UNKNOWN: dict[str, bool] = {}
"""Answers that the gateway does not know."""


class Tables:
    """What ClickHouse would say: the same answers, look after look."""

    def query(self, _: str, __: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"response_id": name, "result": json.dumps({"result": result}), "expected": "19"}
            for name, result in (("right", 19), ("wrong", 5), ("none", None))
        ]


@pytest.fixture
def posted() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A gateway that takes everything, and what it took."""
    taken: list[dict[str, Any]] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            said = json.loads(body)
            self.send_response(404 if said["response_id"] in UNKNOWN else 200)
            if said["response_id"] not in UNKNOWN:
                taken.append(said | {"path": self.path})
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", taken
    server.shutdown()
    server.server_close()


def test_users_judge_each_answer_once_by_its_id(
    posted: tuple[str, list[dict[str, Any]]],
) -> None:
    url, taken = posted
    users = Users(Tables(), url, "any", "drift")  # type: ignore[arg-type]  # a client's stand-in
    assert [users.look(Event()) for _ in range(2)] == [3, 0]
    assert {one["response_id"]: one["value"] for one in taken} == {
        "right": 1.0,
        "wrong": 0.0,
        "none": 0.0,
    }
    assert {(one["path"], one["name"]) for one in taken} == {("/v1/feedback", "thumbs")}
    assert all(one["id"] == one["response_id"] for one in taken)


def test_an_answer_that_the_gateway_does_not_know_yet_holds_up_no_other(
    posted: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, taken = posted
    users = Users(Tables(), url, "any", "drift")  # type: ignore[arg-type]  # a client's stand-in
    with monkeypatch.context() as early:
        early.setitem(UNKNOWN, "right", True)
        assert users.look(Event()) == 2
    assert users.look(Event()) == 1
    assert sorted(one["response_id"] for one in taken) == ["none", "right", "wrong"]
