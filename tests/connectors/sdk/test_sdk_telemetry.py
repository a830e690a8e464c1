"""Telemetry against a transport in memory: durable, in order, and never in the agent's way."""

import asyncio
import json
import logging
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors.sdk import (
    Away,
    Closed,
    NotDurable,
    SdkConfig,
    Telemetry,
    TelemetryError,
    current_attempt,
    send_reward,
)
from headrace.connectors.sdk.sealing import TOPIC
from headrace.schemas import Codec, InvalidId, Span, new_span_id, schema_text

WAIT_S = 20.0


class Broker:
    """A broker and a registry in memory that can be away; outlives transports."""

    def __init__(self) -> None:
        self.up = threading.Event()
        self.registry_up = threading.Event()
        self.up.set()
        self.registry_up.set()
        self.records: list[tuple[int, bytes]] = []
        self.room = 1_000
        self.refusals: list[tuple[str, bool]] = []

    def batches(self) -> list[dict[str, Any]]:
        codec = Codec(self)
        return [codec.decode(TOPIC, value) for _, value in self.records]

    def names(self) -> list[str]:
        return [s for batch in self.batches() for s in batch["strings"] if s.startswith("n")]

    def schema_id(self, topic: str) -> int:
        return 7

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        schema: dict[str, Any] = json.loads(schema_text(TOPIC))
        return schema


class MemoryTransport:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._sent: list[tuple[int, bytes, Callable[[str | None, bool], None]]] = []

    def partitions(self) -> int:
        if not self.broker.up.is_set():
            raise Away("broker is away")
        return 2

    def schema_id(self) -> int:
        if not self.broker.registry_up.is_set():
            raise Away("registry is away")
        return 7

    def send(self, partition: int, value: bytes, taken: Callable[[str | None, bool], None]) -> bool:
        if len(self._sent) >= self.broker.room:
            return False
        self._sent.append((partition, value, taken))
        return True

    def poll(self, timeout: float) -> None:
        if not self.broker.up.wait(timeout):
            return
        sent, self._sent = self._sent, []
        for partition, value, taken in sent:
            if self.broker.refusals:
                taken(*self.broker.refusals.pop())
                continue
            self.broker.records.append((partition, value))
            taken(None, False)

    def close(self, timeout: float) -> None:
        pass


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def start(broker: Broker) -> Iterator[Callable[..., Telemetry]]:
    started: list[Telemetry] = []

    def make(**settings: Any) -> Telemetry:
        config = SdkConfig(
            bootstrap="memory",
            registry_url="memory",
            **{"seal_ms": 5, "broker_patience_ms": 50, "close_timeout_s": 0.05} | settings,
        )
        started.append(Telemetry(config, lambda: MemoryTransport(broker)))
        return started[-1]

    yield make
    for telemetry in started:
        telemetry.close()


def span(name: str = "n", rollout: str = "r1", **fields: Any) -> Span:
    return Span(
        rollout_id=rollout,
        attempt="a1",
        span_id=new_span_id(),
        kind=fields.pop("kind", "event"),
        name=name,
        **fields,
    )


def test_spans_arrive_whole_and_the_counts_add_up(
    broker: Broker, start: Callable[..., Telemetry]
) -> None:
    telemetry = start(seal_spans=10)
    for i in range(95):
        telemetry.emit(span(f"n{i}", rollout=f"r{i % 7}"))
    assert telemetry.flush(WAIT_S)
    assert sorted(broker.names()) == sorted(f"n{i}" for i in range(95))
    stats = telemetry.stats()
    assert (stats.emitted, stats.delivered, stats.pending) == (95, 95, 0)
    assert stats.held_bytes == 0
    assert {batch["producer"] for batch in broker.batches()} == {stats.producer}


def test_emit_durably_says_that_kafka_has_it(
    broker: Broker, start: Callable[..., Telemetry]
) -> None:
    telemetry = start(seal_ms=60_000)
    assert telemetry.emit_durably(span("n1"), WAIT_S) == "delivered"
    assert broker.names() == ["n1"]
    assert asyncio.run(telemetry.aemit_durably(span("n2"), WAIT_S)) == "delivered"


def test_with_the_broker_away_the_spool_is_enough_and_the_agent_does_not_wait(
    broker: Broker, start: Callable[..., Telemetry], tmp_path: Path
) -> None:
    telemetry = start(spool_directory=tmp_path)
    assert telemetry.emit_durably(span("n0"), WAIT_S) == "delivered"
    broker.up.clear()
    assert telemetry.emit_durably(span("n1"), WAIT_S) == "spooled"
    assert asyncio.run(telemetry.aemit_durably(span("n2"), WAIT_S)) == "spooled"
    for i in range(3, 500):
        telemetry.emit(span(f"n{i}"))
    assert not telemetry.flush(0.05)
    broker.up.set()
    assert telemetry.flush(WAIT_S)
    assert sorted(broker.names()) == sorted(f"n{i}" for i in range(500))


def test_without_spool_and_broker_a_durable_emit_fails_in_time(
    broker: Broker, start: Callable[..., Telemetry]
) -> None:
    broker.up.clear()
    telemetry = start()
    with pytest.raises(NotDurable, match="neither Kafka nor a spool"):
        telemetry.emit_durably(span("n1"), 0.05)
    broker.up.set()  # it was not lost
    assert telemetry.flush(WAIT_S)
    assert broker.names() == ["n1"]


def test_a_registry_that_is_away_is_waited_for(
    broker: Broker, start: Callable[..., Telemetry], tmp_path: Path
) -> None:
    broker.registry_up.clear()
    telemetry = start(spool_directory=tmp_path)
    assert telemetry.emit_durably(span("n1"), WAIT_S) == "spooled"
    assert broker.records == []
    broker.registry_up.set()
    assert telemetry.flush(WAIT_S)
    assert broker.names() == ["n1"]


def test_the_next_start_sends_what_was_left_under_the_old_producer_id(
    broker: Broker, start: Callable[..., Telemetry], tmp_path: Path
) -> None:
    first = start(spool_directory=tmp_path)
    assert first.emit_durably(span("n1"), WAIT_S) == "delivered"
    broker.up.clear()
    first.emit_durably(span("n2"), WAIT_S)
    old = first.stats().producer
    first.close(0.0)
    assert first.stats().pending == 1

    second = start(spool_directory=tmp_path)
    # The partition count is remembered, so spans are sealed and spooled with the broker away.
    assert second.emit_durably(span("n3"), WAIT_S) == "spooled"
    broker.up.set()
    assert second.flush(WAIT_S)
    by_name = {
        name: (batch["producer"], batch["sequence"])
        for batch in broker.batches()
        for name in batch["strings"]
        if name
    }
    assert by_name == {"n1": (old, 0), "n2": (old, 1), "n3": (second.stats().producer, 0)}
    assert second.stats().resent == 1
    second.close()
    assert [path.name for path in tmp_path.iterdir()] == ["partitions.json"]


def test_two_producers_share_a_spool_directory_without_sending_each_others_spans(
    broker: Broker, start: Callable[..., Telemetry], tmp_path: Path
) -> None:
    one = start(spool_directory=tmp_path)
    assert one.flush(WAIT_S)
    broker.up.clear()
    one.emit_durably(span("n1"), WAIT_S)
    two = start(spool_directory=tmp_path)
    broker.up.set()
    assert one.flush(WAIT_S)
    assert two.flush(WAIT_S)
    assert broker.names() == ["n1"]
    assert two.stats().resent == 0


def test_memory_is_bounded_and_what_does_not_fit_is_counted(
    broker: Broker, start: Callable[..., Telemetry]
) -> None:
    broker.up.clear()
    telemetry = start(memory_bytes=10_000)
    for i in range(100):
        telemetry.emit(span(f"n{i}", output="x" * 1_000))
    stats = telemetry.stats()
    assert stats.held_bytes <= 10_000
    assert 0 < stats.emitted < 100
    assert stats.emitted + stats.dropped == 100
    with pytest.raises(NotDurable, match="memory_bytes"):
        telemetry.emit_durably(span(output="x" * 5_000))
    broker.up.set()
    assert telemetry.flush(WAIT_S)
    telemetry.emit(span("n100"))
    assert telemetry.flush(WAIT_S)
    numbers = [e["episode_batch"] for batch in broker.batches() for e in batch["episodes"]]
    assert max(numbers) > len(numbers) - 1  # the dropped spans show as a hole


def test_with_a_spool_more_waits_than_memory_holds(
    broker: Broker, start: Callable[..., Telemetry], tmp_path: Path
) -> None:
    telemetry = start(spool_directory=tmp_path, memory_bytes=20_000, seal_bytes=2_000)
    assert telemetry.flush(WAIT_S)
    broker.up.clear()
    for i in range(100):
        telemetry.emit_durably(span(f"n{i}", output="x" * 1_000), WAIT_S)
    assert telemetry.stats().dropped == 0
    broker.room = 3  # and the producer's own queue is small
    broker.up.set()
    assert telemetry.flush(WAIT_S)
    assert sorted(broker.names()) == sorted(f"n{i}" for i in range(100))


def test_a_batch_that_kafka_did_not_take_is_sent_again(
    broker: Broker, start: Callable[..., Telemetry]
) -> None:
    broker.refusals = [("leader not there", True)] * 2
    telemetry = start()
    assert telemetry.emit_durably(span("n1"), WAIT_S) == "delivered"
    assert broker.names() == ["n1"]


def test_a_batch_that_kafka_refuses_for_good_is_counted_and_does_not_block(
    broker: Broker, start: Callable[..., Telemetry], caplog: pytest.LogCaptureFixture
) -> None:
    broker.refusals = [("too large", False)]
    telemetry = start()
    with pytest.raises(NotDurable, match="too large"):
        telemetry.emit_durably(span("n1"), WAIT_S)
    assert telemetry.emit_durably(span("n2"), WAIT_S) == "delivered"
    stats = telemetry.stats()
    assert (stats.undeliverable, stats.delivered, stats.pending) == (1, 1, 0)


def test_an_illegal_span_is_counted_and_never_raised_into_the_agent(
    broker: Broker, start: Callable[..., Telemetry], caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = start()
    telemetry.emit(span(rollout="not an id"))
    telemetry.emit(span(kind="nonsense"))
    telemetry.emit(None)  # type: ignore[arg-type]  # whatever an agent hands over
    assert telemetry.stats().rejected == 3
    with pytest.raises(InvalidId):
        telemetry.emit_durably(span(rollout="not an id"))
    telemetry.emit(span("n1"))
    assert telemetry.flush(WAIT_S)
    assert broker.names() == ["n1"]


def test_a_span_that_no_batch_can_hold_fails_its_waiter_alone(
    broker: Broker, start: Callable[..., Telemetry]
) -> None:
    telemetry = start()
    with pytest.raises(NotDurable, match="encoded"):
        telemetry.emit_durably(span("n1", started_at=2**70), WAIT_S)
    assert telemetry.emit_durably(span("n2"), WAIT_S) == "delivered"
    assert telemetry.stats().unencodable == 1


def test_closing_delivers_and_then_takes_nothing(
    broker: Broker, start: Callable[..., Telemetry], caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = start(seal_ms=60_000)
    telemetry.emit(span("n1"))
    telemetry.close(WAIT_S)
    telemetry.close()
    assert broker.names() == ["n1"]
    telemetry.emit(span("n2"))
    with pytest.raises((Closed, TelemetryError)):
        telemetry.emit_durably(span("n2"))


def test_capture_none_sends_nothing(broker: Broker, start: Callable[..., Telemetry]) -> None:
    telemetry = start(capture="none")
    telemetry.emit(span("n1"))
    assert telemetry.emit_durably(span("n2")) == "suppressed"
    assert telemetry.flush(WAIT_S)
    assert broker.records == []
    assert telemetry.stats().suppressed == 2


def test_capture_metadata_sends_no_content(broker: Broker, start: Callable[..., Telemetry]) -> None:
    telemetry = start(capture="metadata")
    telemetry.emit_durably(span("n1", output="secret"), WAIT_S)
    (batch,) = broker.batches()
    assert batch["content"] is None
    assert b"secret" not in broker.records[0][1]


def test_a_forked_child_is_a_producer_of_its_own(
    start: Callable[..., Telemetry], broker: Broker, tmp_path: Path
) -> None:
    telemetry = start(spool_directory=tmp_path)
    assert telemetry.emit_durably(span("n1"), WAIT_S) == "delivered"
    broker.up.clear()
    assert telemetry.emit_durably(span("n2"), WAIT_S) == "spooled"
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()

    def child() -> None:
        telemetry.emit(span("n3"))
        theirs.send(telemetry.stats())

    process = context.Process(target=child)
    process.start()
    stats = mine.recv() if mine.poll(WAIT_S) else None
    process.join(WAIT_S)
    assert process.exitcode == 0
    assert stats is not None
    assert stats.producer != telemetry.stats().producer
    assert stats.resent == 0
    # The child's end sealed and spooled its span; the parent's folder is still its own.
    broker.up.set()
    assert telemetry.flush(WAIT_S)
    heir = start(spool_directory=tmp_path)
    assert heir.flush(WAIT_S)
    producers = {
        name: batch["producer"] for batch in broker.batches() for name in batch["strings"] if name
    }
    assert producers["n3"] == stats.producer
    assert producers["n1"] == producers["n2"] == telemetry.stats().producer


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
        for kind, name, status in zip(batch.kind, batch.name, batch.status, strict=True)
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


@pytest.mark.parametrize(
    "settings",
    [{"seal_spans": 0}, {"capture": "some"}, {"text_bytes": 9_000_000}, {"seal_spans": 70_000}],
)
def test_a_bad_setting_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        SdkConfig(bootstrap="b", registry_url="r", **settings)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="headrace.connectors.sdk")
