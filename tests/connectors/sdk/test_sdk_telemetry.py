"""Telemetry against a transport in memory: durable, in order, and never in the agent's way."""

import asyncio
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.connectors.sdk import NotDurable, Telemetry
from tests.connectors.sdk.memory import WAIT_S, Broker, span


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
