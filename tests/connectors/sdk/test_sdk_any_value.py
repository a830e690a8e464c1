"""No value of an agent raises out of the SDK, and every attempt that ends is closed."""

import itertools
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from headrace.connectors.described import REPLACED, as_json, error_facts
from headrace.connectors.sdk import SdkConfig, Telemetry, send_reward
from headrace.schemas import KINDS, read_span_batch
from headrace.schemas.span_reader import Texts
from tests.connectors.sdk.memory import WAIT_S, Broker, MemoryTransport
from tests.connectors.sdk.nasty_values import (
    NASTY,
    Point,
    StrRaises,
    built,
    circular,
    deep,
    recipes,
)


def text_of(texts: Texts, row: int) -> str:
    return texts.blob[texts.offsets[row] : texts.offsets[row + 1]].decode()


def rows_of(broker: Broker) -> list[tuple[str, dict[str, Any], str, str]]:
    """Kind, attributes, input and output of every span that arrived."""
    return [
        (
            KINDS[kind],
            json.loads(text_of(part.texts["attributes"], row) or "{}"),
            text_of(part.texts["input"], row),
            text_of(part.texts["output"], row),
        )
        for part in map(read_span_batch, broker.batches())
        for row, kind in enumerate(part.spans["kind"])
    ]


def telemetry_on(broker: Broker) -> Telemetry:
    config = SdkConfig(bootstrap="memory", registry_url="memory", seal_ms=5, durable_seal_ms=0)
    return Telemetry(config, lambda: MemoryTransport(broker))


def use_everything(telemetry: Telemetry, value: Any) -> None:
    """Every public entry that takes data, with a value in each of its places."""
    attempt = telemetry.attempt(
        "r1",
        "a1",
        group_size=value,
        group_rollouts=value,
        policy=value,
        split=value,
        deadline=value,
        expected=value,
        task_input=value,
        agent=value,
        subject=value,
    )
    attempt.start(WAIT_S)
    with attempt:
        with attempt.tool(value, value) as result:
            result.output = value
        with pytest.raises(ZeroDivisionError), attempt.tool("divide", value):
            _ = 1 / 0
        attempt.event(value, value)
        attempt.event("event", {"key": value})
        attempt.exception(ValueError(StrRaises()))
        attempt.exception(value)
        attempt.failure(value, value, value)
        attempt.reward(value, value, value, value)
    send_reward(telemetry, "r1", "a1", value, value, target=value, source=value, timeout=WAIT_S)
    attempt.end(value, status=value, timeout=WAIT_S)


KINDS_USED = sorted(
    ["attempt.start", "attempt.end", *["tool", "event", "reward"] * 2, *["exception"] * 3]
)


@pytest.mark.parametrize("make", NASTY, ids=itertools.count())
def test_a_nasty_value_goes_through_every_entry(make: Callable[[], Any]) -> None:
    broker = Broker()
    telemetry = telemetry_on(broker)
    try:
        use_everything(telemetry, make())
        assert telemetry.flush(WAIT_S)
        assert sorted(kind for kind, *_ in rows_of(broker)) == KINDS_USED
        stats = telemetry.stats()
        assert (stats.unencodable, stats.rejected, stats.dropped) == (0, 0, 0)
    finally:
        telemetry.close(1.0)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(recipes)
def test_any_value_goes_through_every_entry(recipe: Any) -> None:
    broker = Broker()
    telemetry = telemetry_on(broker)
    try:
        use_everything(telemetry, built(recipe))
        assert telemetry.flush(WAIT_S)
        assert sorted(kind for kind, *_ in rows_of(broker)) == KINDS_USED
    finally:
        telemetry.close(1.0)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(recipes)
def test_what_is_said_of_a_value_is_strict_json(recipe: Any) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(as_json(built(recipe)).text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "said", "replaced"),
    [
        ({"a": [1, 2.5, None, True, "ü"]}, {"a": [1, 2.5, None, True, "ü"]}, 0),
        ({1: "a", False: "b"}, {"1": "a", "false": "b"}, 0),
        ({(1, 2): 3}, {"[1, 2]": 3}, 1),
        ({"1": 0, 1: 1}, {"1": 0, "1#1": 1}, 1),
        (math.inf, "Infinity", 1),
        (10**5_000, "<int of about 5001 digits>", 1),
        (b"text", "text", 1),
        (b"\xff", "<1 bytes: ff>", 1),
        (Path("a/b"), "a/b", 1),
        (np.float64(0.5), 0.5, 0),
        (np.int64(5), 5, 0),
        (StrRaises(), "<StrRaises, whose str raised RuntimeError>", 1),
        (Point(x=2, inner=None), {"x": 2, "inner": None}, 1),
        ([[]], [[]], 0),
    ],
    ids=itertools.count(),  # pytest's own ids fall to some of them
)
def test_what_can_be_said_is_said(value: Any, said: Any, replaced: int) -> None:
    described = as_json(value)
    assert (json.loads(described.text), described.replaced) == (said, replaced)


def test_a_list_in_itself_and_one_without_bottom_are_told_as_far_as_they_go() -> None:
    assert json.loads(as_json(circular()).text) == [1, {"again": "<list that holds itself>"}]
    told = as_json(deep(100_000))
    assert told.replaced == 1
    assert "nested too deeply" in told.text


def test_a_generator_is_not_consumed() -> None:
    numbers = (i for i in range(3))
    as_json({"numbers": numbers})
    assert list(numbers) == [0, 1, 2]


def test_the_span_is_marked_and_the_stats_count_it(
    broker: Broker, start: Callable[..., Telemetry]
) -> None:
    telemetry = start()
    attempt = telemetry.attempt("r1", task_input={"q": 1}, expected={2: math.nan})
    attempt.start(WAIT_S)
    with attempt.tool("search", {(1, 2): StrRaises()}):
        pass
    attempt.event("note", {"x": {1, 2}})
    attempt.reward("stars", "many")  # type: ignore[arg-type]  # what agents give
    attempt.end(10**5_000, timeout=WAIT_S)
    telemetry.flush(WAIT_S)
    found = {kind: (attributes, given, out) for kind, attributes, given, out in rows_of(broker)}
    assert found["attempt.start"] == ({REPLACED: 1}, '{"q": 1}', "")
    assert found["tool"][0] == {REPLACED: 2}
    assert found["event"][0] == {"x": [1, 2], REPLACED: 1}
    assert found["reward"][0] == {"value": "many", REPLACED: 1}
    assert found["attempt.end"] == ({REPLACED: 1}, "", '"<int of about 5001 digits>"')
    assert telemetry.stats().replaced == 5


def test_a_status_that_is_none_ends_the_attempt_as_an_error(
    broker: Broker, start: Callable[..., Telemetry]
) -> None:
    telemetry = start()
    telemetry.attempt("r1").end("ok", status="finished", timeout=WAIT_S)
    (batch,) = map(read_span_batch, broker.batches())
    assert (batch.spans["status"].tolist(), rows_of(broker)[0][1]["status"]) == ([2], "finished")


def test_an_agent_out_of_stack_keeps_its_own_error(
    broker: Broker, start: Callable[..., Telemetry]
) -> None:
    attempt = start().attempt("r1")

    def descend() -> None:
        with attempt.tool("down", {"a": [1]}):
            descend()

    with pytest.raises(RecursionError):
        descend()
    assert attempt.end("late", timeout=WAIT_S) == "delivered"


def test_an_exception_is_told_whatever_its_own_methods_do() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    try:
        raise Silent from ValueError("cause")
    except Silent as error:
        name, message, trace = error_facts(error)
    assert (name, message) == ("Silent", "<Silent, whose str raised RuntimeError>")
    assert "ValueError: cause" in trace
    assert sys.getrecursionlimit() > 100
