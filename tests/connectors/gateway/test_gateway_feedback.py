"""POST /v1/feedback: by an answer's id, by an episode, within the project of the key."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from headrace.connectors.clickhouse import ClickHouseUnavailable
from headrace.connectors.feedback import Place
from headrace.connectors.kafka import KafkaUnavailable
from headrace.schemas import Span
from tests.connectors.gateway.dialects import bodies
from tests.connectors.gateway.test_gateway_access import bearer

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

FEEDBACK = "/v1/feedback"


class Tables:
    """What ClickHouse would say."""

    def __init__(self) -> None:
        self.away = False
        self.known = {"r/a"}
        self.old = {"chatcmpl-old": Place(project="default", rollout_id="o", attempt="a")}

    def of_episode(self, place: Place) -> Place | None:
        self._ask()
        return place if place.episode in self.known else None

    def of_response(self, project: str, response_id: str) -> Place | None:
        self._ask()
        return self.old.get(response_id)

    def _ask(self) -> None:
        if self.away:
            raise ClickHouseUnavailable("no connection")


class Log:
    """How much of the log the tables lack, question by question; nothing at the end."""

    def __init__(self, *left: int, on_asked: Callable[[], None] = lambda: None) -> None:
        self._left = list(left)
        self._on_asked = on_asked
        self.rollouts: list[str] = []

    def __call__(self, rollout_id: str) -> "Log":
        self.rollouts.append(rollout_id)
        return self

    def records(self) -> int:
        self._on_asked()
        return self._left.pop(0) if self._left else 0


@pytest.fixture
def gateway(make_gateway: "Callable[..., Harness]") -> "Harness":
    harness = make_gateway().serve(0)
    harness.state.places = Tables()  # type: ignore[assignment]  # as far as it is asked
    harness.state.unread = Log()  # type: ignore[assignment]  # as far as it is asked
    return harness


def rewards(gateway: "Harness") -> list[Span]:
    return [span for span in gateway.telemetry.spans if span.reward is not None]


def thumbs(**fields: Any) -> dict[str, Any]:
    return {"json": {"name": "thumbs", "value": -1, **fields}}


def test_the_id_of_an_answer_is_enough(gateway: "Harness") -> None:
    answer = gateway.chat("/rollout/r7/attempt/a1/v1/chat/completions").json()
    told = gateway.post(FEEDBACK, **thumbs(response_id=answer["id"]))
    assert told.status_code == 200
    (span,) = rewards(gateway)
    assert (span.rollout_id, span.attempt) == ("r7", "a1")
    assert told.json() == {
        "object": "feedback", "id": span.span_id, "project": "default", "episode": "r7/a1",
        "target": "episode", "name": "thumbs", "value": -1.0,
    }  # fmt: skip
    assert span.reward is not None
    assert (span.reward.target, span.reward.source) == ("", "user")


def test_it_may_be_for_that_call_alone(gateway: "Harness") -> None:
    answer = gateway.chat().json()
    gateway.post(FEEDBACK, **thumbs(response_id=answer["id"], target="call", source="judge"))
    (span,) = rewards(gateway)
    assert span.reward is not None
    assert (span.reward.target, span.reward.source) == (answer["id"][-16:], "judge")


def test_an_answer_of_long_ago_is_looked_up(gateway: "Harness") -> None:
    told = gateway.post(FEEDBACK, **thumbs(response_id="chatcmpl-old"))
    assert told.json()["episode"] == "o/a"


@pytest.mark.parametrize(
    ("path", "fields"), [(FEEDBACK, {"episode": "r/a"}), ("/rollout/r/attempt/a/v1/feedback", {})]
)
def test_an_episode_is_named_or_is_that_of_the_base_url(
    gateway: "Harness", path: str, fields: dict[str, str]
) -> None:
    assert gateway.post(path, **thumbs(**fields)).json()["episode"] == "r/a"


def test_true_is_1_and_one_id_is_one_span(gateway: "Harness") -> None:
    for _ in range(2):
        gateway.post(FEEDBACK, **thumbs(episode="r/a", value=True, id="form-7"))
    first, again = rewards(gateway)
    assert first.span_id == again.span_id
    assert first.reward is not None
    assert first.reward.value == 1.0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"value": "good"}, "value"),
        ({"value": None}, "value"),
        ({"value": 10**400}, "value"),
        ({"name": ""}, "name"),
        ({"name": 3}, "name"),
        ({"episode": "r"}, "episode"),
        ({"episode": None}, "response_id"),
        ({"response_id": "chatcmpl-1"}, "response_id"),
        ({"target": "call"}, "target"),
        ({"target": "group"}, "target"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(
    gateway: "Harness", fields: dict[str, Any], param: str
) -> None:
    told = gateway.post(FEEDBACK, **thumbs(**({"episode": "r/a"} | fields)))
    assert (told.status_code, told.json()["error"]["param"]) == (400, param)
    assert rewards(gateway) == []


@pytest.mark.parametrize("fields", [{"episode": "r/b"}, {"response_id": "chatcmpl-nobody"}])
def test_what_nobody_knows_is_not_found(gateway: "Harness", fields: dict[str, str]) -> None:
    assert gateway.post(FEEDBACK, **thumbs(**fields)).status_code == 404
    assert rewards(gateway) == []


def test_an_episode_that_has_just_ended_is_waited_for(gateway: "Harness") -> None:
    known = gateway.state.places.known  # type: ignore[attr-defined]  # the test's own
    log = Log(3, 2, on_asked=lambda: known.add("new/a") if len(log.rollouts) else None)
    gateway.state.unread = log  # type: ignore[assignment]  # as far as it is asked
    told = gateway.post(FEEDBACK, **thumbs(episode="new/a"))
    assert (told.status_code, told.json()["episode"]) == (200, "new/a")
    assert log.rollouts == ["new"], "its own partition is asked about"


def test_without_the_log_nobody_can_tell(gateway: "Harness") -> None:
    def away() -> None:
        raise KafkaUnavailable("no broker")

    gateway.state.unread = Log(on_asked=away)  # type: ignore[assignment]  # as far as it is asked
    assert gateway.post(FEEDBACK, **thumbs(episode="r/b")).status_code == 503


def test_without_the_tables_the_last_answers_are_known_still(gateway: "Harness") -> None:
    gateway.state.places.away = True  # type: ignore[attr-defined]  # the test's own
    assert gateway.post(FEEDBACK, **thumbs(episode="r/a")).status_code == 503
    answer = gateway.chat().json()
    assert gateway.post(FEEDBACK, **thumbs(response_id=answer["id"])).status_code == 200


def test_what_is_on_no_record_is_not_confirmed(gateway: "Harness") -> None:
    gateway.telemetry.error = RuntimeError("no disk")
    told = gateway.post(FEEDBACK, **thumbs(episode="r/a"))
    assert (told.status_code, "send it again" in told.text) == (503, True)


def test_a_key_gives_feedback_within_its_project(make_gateway: "Callable[..., Harness]") -> None:
    shops = make_gateway(keys=("sk-any",), project_keys=("shop=sk-1", "blog=sk-2")).serve(0)
    tables = Tables()
    shops.state.places = tables  # type: ignore[assignment]  # as far as it is asked
    shops.state.unread = Log()  # type: ignore[assignment]  # as far as it is asked
    answer = shops.post(
        "/v1/chat/completions",
        json={"model": "calc", "messages": [{"role": "user", "content": "1"}]},
        headers=bearer("sk-1"),
    ).json()
    asked = thumbs(response_id=answer["id"])
    assert shops.post(FEEDBACK, **asked).status_code == 401
    assert shops.post(FEEDBACK, **asked, headers=bearer("sk-2")).status_code == 404
    assert shops.post(FEEDBACK, **asked, headers=bearer("sk-1")).json()["project"] == "shop"


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it keeps no state of them
)
@given(body=bodies.mutated(bodies.FEEDBACK) | bodies.json_values)
def test_any_feedback_is_taken_or_refused(gateway: "Harness", body: Any) -> None:
    said = {"content-type": "application/json"}
    answer = gateway.post(FEEDBACK, content=json.dumps(body), headers=said)
    assert answer.status_code in (200, 400, 404)
    assert answer.status_code == 200 or answer.json()["error"]["message"]
