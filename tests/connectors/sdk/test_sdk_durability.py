"""The SDK on the real broker and registry: what it acknowledged survives kills on both sides."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors.kafka import KafkaConfig, Registry, Tailer
from headrace.connectors.sdk import SdkConfig, Telemetry
from headrace.connectors.sdk.sealing import TOPIC
from headrace.infra.embedded import Stack
from headrace.schemas import Codec, Span, new_span_id, new_ulid, partition_of
from tests.support.shared_log import readable
from tests.support.waiting import SECONDS, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PRODUCER = """
import sys
from pathlib import Path
from headrace.connectors.sdk import SdkConfig, Telemetry
from headrace.schemas import Span, new_span_id

bootstrap, registry, spool, rollout = sys.argv[1:]
config = SdkConfig(bootstrap=bootstrap, registry_url=registry, spool_directory=Path(spool))
telemetry = Telemetry(config)
number = 0
while True:
    span_id = new_span_id()
    telemetry.emit_durably(
        Span(rollout_id=rollout, attempt="a", span_id=span_id, kind="event", name="tick"), 60
    )
    sys.stdout.write(span_id + "\\n")
    sys.stdout.flush()
"""


def config_of(stack: Stack, spool: Path | None = None, **settings: Any) -> SdkConfig:
    return SdkConfig(
        bootstrap=stack.bootstrap,
        registry_url=stack.registry_url,
        spool_directory=spool,
        **settings,
    )


def span(rollout: str, **fields: Any) -> Span:
    return Span(
        rollout_id=rollout,
        attempt="a",
        span_id=new_span_id(),
        kind="event",
        name="tick",
        **fields,
    )


class Reader:
    """Collects the spans of some rollouts from the topic."""

    def __init__(self, stack: Stack, rollouts: set[str]) -> None:
        self._registry = Registry(stack.registry_url)
        self._codec = Codec(self._registry)
        self._tailer = Tailer(KafkaConfig(bootstrap=stack.bootstrap), [TOPIC], name="test.sdk")
        self._rollouts = rollouts
        self.seen: Counter[str] = Counter()
        self.sequences: dict[tuple[str, int], set[int]] = {}

    def read_until(self, done: Callable[[], bool]) -> None:
        def read_on() -> bool:
            for message in self._tailer.read(0.2):
                self._read(message)
            return self._tailer.caught_up and done()

        wait_until(read_on, lambda: f"the spans, of which {len(self.seen)} were seen")

    def close(self) -> None:
        self._tailer.close()
        self._registry.close()

    def _read(self, message: Any) -> None:
        record = readable(self._codec, TOPIC, message.value)
        if record is None or not any(e["rollout_id"] in self._rollouts for e in record["episodes"]):
            return
        for episode in record["episodes"]:
            assert partition_of(episode["rollout_id"], 8) == message.partition
        assert message.key is None
        ids = record["span_id"]
        self.seen.update(ids[i : i + 8].hex() for i in range(0, len(ids), 8))
        key = (record["producer"], message.partition)
        self.sequences.setdefault(key, set()).add(record["sequence"])

    def assert_no_gaps(self) -> None:
        for numbers in self.sequences.values():
            assert numbers == set(range(len(numbers)))


def test_a_killed_broker_loses_no_acknowledged_span(stack: Stack, tmp_path: Path) -> None:
    rollouts = {new_ulid() for _ in range(20)}
    telemetry = Telemetry(config_of(stack, tmp_path))
    acknowledged: set[str] = set()
    longest = 0.0
    stop = threading.Event()

    def emit() -> None:
        nonlocal longest
        while not stop.is_set():
            for rollout in rollouts:
                one = span(rollout, output="x" * 200)
                before = time.monotonic()
                telemetry.emit(one)
                longest = max(longest, time.monotonic() - before)
                acknowledged.add(one.span_id)
            stop.wait(0.002)

    agent = threading.Thread(target=emit)
    agent.start()
    try:
        assert telemetry.emit_durably(span(next(iter(rollouts))), SECONDS) in (
            "delivered",
            "spooled",
        )
        stack.kill("kafka")
        stop.wait(0.5)
    finally:
        stop.set()
        agent.join()
    assert telemetry.flush(SECONDS)
    stats = telemetry.stats()
    telemetry.close()
    assert (stats.dropped, stats.undeliverable, stats.pending) == (0, 0, 0)
    assert stats.delivered == stats.emitted == len(acknowledged) + 1

    reader = Reader(stack, rollouts)
    reader.read_until(lambda: len(reader.seen) > len(acknowledged))
    reader.close()
    assert acknowledged <= reader.seen.keys()
    assert set(reader.seen.values()) == {1}  # the idempotent producer repeated nothing
    reader.assert_no_gaps()


def test_a_killed_process_loses_nothing_it_was_told_is_durable(
    stack: Stack, tmp_path: Path
) -> None:
    rollout = new_ulid()
    acknowledged: set[str] = set()
    spool = tmp_path / "spool"
    Telemetry(config_of(stack, spool)).close(SECONDS)  # the partition count is remembered
    arguments = [stack.bootstrap, stack.registry_url, str(spool), rollout]
    for cut_off in (False, True):
        if cut_off:  # a broker that never answers: everything goes to the spool
            arguments[0] = "127.0.0.1:1"
        process = subprocess.Popen(
            [sys.executable, "-c", PRODUCER, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            for _ in range(20):
                acknowledged.add(process.stdout.readline().strip())
        finally:
            os.kill(process.pid, signal.SIGKILL)
            rest, _ = process.communicate()
        acknowledged |= {line for line in rest.splitlines() if len(line) == 16}

    heir = Telemetry(config_of(stack, spool))
    assert heir.flush(SECONDS)
    assert heir.stats().resent >= 20
    heir.close()
    assert [path.name for path in spool.iterdir()] == ["partitions.json"]
    reader = Reader(stack, {rollout})
    reader.read_until(lambda: acknowledged <= reader.seen.keys())
    reader.close()
    assert len({producer for producer, _ in reader.sequences}) == 2  # the old ids, not the heir's
    reader.assert_no_gaps()


def test_an_agent_starts_and_runs_with_the_broker_away(stack: Stack, tmp_path: Path) -> None:
    rollout = new_ulid()
    away = SdkConfig(
        bootstrap="127.0.0.1:1",
        registry_url="http://127.0.0.1:1",
        spool_directory=tmp_path,
        broker_patience_ms=50,
    )
    telemetry = Telemetry(away)
    one = span(rollout)
    telemetry.emit(one)  # nobody knows the partition count yet: it waits in memory
    assert telemetry.stats().pending == 1
    telemetry.close(0.0)
    assert telemetry.stats().pending == 1

    Telemetry(config_of(stack, tmp_path)).close(SECONDS)
    telemetry = Telemetry(away)
    two = span(rollout)
    assert telemetry.emit_durably(two, SECONDS) == "spooled"
    telemetry.close(0.0)
    heir = Telemetry(config_of(stack, tmp_path))
    assert heir.flush(SECONDS)
    heir.close()
    reader = Reader(stack, {rollout})
    reader.read_until(lambda: two.span_id in reader.seen)
    reader.close()
