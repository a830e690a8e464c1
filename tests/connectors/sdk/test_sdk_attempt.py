"""An attempt at a rollout, as an agent records it."""

from collections.abc import Callable

import pytest

from headrace.connectors.sdk import Telemetry, current_attempt, send_reward
from tests.connectors.sdk.memory import WAIT_S, Broker


def test_an_attempt_tells_its_story(broker: Broker, start: Callable[..., Telemetry]) -> None:
    telemetry = start()
    attempt = telemetry.attempt(
        "r1",
        group_id="g1",
        group_size=2,
        group_rollouts=["r1", "r2"],
        policy="p",
        deadline=5,
        expected="42",
        task_input='{"q": 1}',
        agent="m:f",
    )
    assert attempt.start(WAIT_S) == "delivered"
    (first,) = broker.batches()
    assert first["starts"] == [
        {
            "row": 0,
            "group_id": "g1",
            "group_size": 2,
            "group_rollouts": ["r1", "r2"],
            "policy": "p",
            "split": "train",
            "deadline": 5,
            "expected": "42",
        }
    ]
    assert first["content"]["input"] == b'{"q": 1}'
    assert current_attempt() is None
    with attempt:
        inside = current_attempt()
        assert inside is attempt
        with inside.tool("add", {"a": 1}) as tool:
            tool.output = 3
        with pytest.raises(ZeroDivisionError), inside.tool("divide"):
            _ = 1 / 0
    assert current_attempt() is None
    attempt.event("note", {"x": 1})
    attempt.exception(ValueError("bad"))
    attempt.reward("correct", 1.0, target="chatcmpl-1", source="rule")
    assert attempt.end({"answer": 42}, timeout=WAIT_S) == "delivered"
    assert attempt.emitted == 5
    from headrace.schemas import KINDS, STATUSES, read_span_batch

    seen = [
        (KINDS[kind], batch.strings[name], STATUSES[status])
        for batch in map(read_span_batch, broker.batches())
        for kind, name, status in zip(
            *(batch.spans[column] for column in ("kind", "name", "status")), strict=True
        )
    ]
    assert seen == [
        ("attempt.start", "m:f", "ok"),
        ("tool", "add", "ok"),
        ("tool", "divide", "error"),
        ("event", "note", "ok"),
        ("exception", "ValueError", "error"),
        ("reward", "correct", "ok"),
        ("attempt.end", "m:f", "ok"),
    ]
    last = broker.batches()[-1]
    assert b'{"answer": 42}' in last["content"]["output"]


def test_late_feedback_needs_only_the_ids(broker: Broker, start: Callable[..., Telemetry]) -> None:
    telemetry = start()
    assert send_reward(telemetry, "r1", "a1", "user", 0.5, timeout=WAIT_S) == "delivered"
    (batch,) = broker.batches()
    assert batch["episodes"][0]["rollout_id"] == "r1"
    assert batch["rewards"]["target"] == [""]


def test_base_urls_carry_the_episode(start: Callable[..., Telemetry]) -> None:
    telemetry = start()
    plain = telemetry.attempt("r1", "a1")
    assert plain.base_url("http://g:1/") == "http://g:1/rollout/r1/attempt/a1/v1"
    other = telemetry.attempt("r1", "a1", project="p")
    assert other.base_url("http://g:1") == "http://g:1/p/p/rollout/r1/attempt/a1/v1"
