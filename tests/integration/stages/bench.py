"""A stage's process on real parts, to be killed, halted and started again, and its surroundings."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka import (
    KafkaConfig,
    Offsets,
    Outgoing,
    Partition,
    Registry,
    Tailer,
    Writer,
    consumer_settings,
    partitions_of,
)
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.infra.cli import app
from headrace.infra.cli.app import VERBS
from headrace.schemas import Codec, new_ulid
from tests.support.environment import environment_of
from tests.support.stages import start_stage
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack
    from tests.integration.stages.subjects import Subject

for verb in VERBS:  # as the command does
    import_module(f"headrace.infra.cli.{verb}")


class StageBench:
    """One stage under test: a consumer group of its own that begins at the log's present end."""

    def __init__(self, stack: Stack, directory: Path, subject: Subject) -> None:
        self.subject = subject
        self.project = f"conform-{new_ulid()}"
        self.kafka = KafkaConfig(bootstrap=stack.bootstrap)
        self._registry = Registry(stack.registry_url)
        self.codec = Codec(self._registry)
        self.writer = Writer(self.kafka)
        self.offsets = Offsets(self.kafka)
        self.begin = self.offsets.ends(
            (topic, number)
            for topic in subject.reads
            for number in range(partitions_of(self.kafka, topic))
        )
        self._stack = stack
        self._directory = directory
        self.partition = 0
        """Where the poison goes."""
        self._settings: dict[str, object] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.clickhouse = self._begin()

    def replay(self) -> None:
        """Begin again where the log was at first: a new group, with empty tables."""
        self.kill()
        self.clickhouse.close()
        self.clickhouse = self._begin()

    def _begin(self) -> ClickHouse:
        name = new_ulid()
        self.group = f"test.{name}"
        database = f"conform_{name.lower()}"
        url = self._stack.clickhouse_url
        clickhouse = ClickHouse(ClickHouseConfig(url=url, database=database))
        migrate.apply(clickhouse)
        self._settings |= {"HEADRACE_CLICKHOUSE_DATABASE": database, "HEADRACE_GROUP": self.group}
        consumer = Consumer(consumer_settings(self.kafka, group=self.group))
        places = [TopicPartition(*where, offset) for where, offset in self.begin.items()]
        consumer.commit(offsets=places, asynchronous=False)
        consumer.close()
        return clickhouse

    def environment(self) -> dict[str, str]:
        return environment_of(
            self._stack,
            HEADRACE_WORKER="worker",
            HEADRACE_RUN_DIRECTORY=self._directory / "run",
            HEADRACE_DATA_DIRECTORY=self._directory / "data",
            HEADRACE_STREAMS_SESSION_TIMEOUT_S=6,
            HEADRACE_STREAMS_UNKNOWN_SCHEMA_S=1,
            # Small takes: a kill falls between some, and a halt is no later than need be.
            HEADRACE_STREAMS_TAKE_RECORDS=20,
            HEADRACE_SINK_TAKE_RECORDS=20,
            HEADRACE_CREDIT_RULE="reward-span:reward",
            **self._settings,
        )

    def start(self, **settings: object) -> None:
        """Start the worker; its settings stay for the next start."""
        self._settings |= settings
        (self._directory / "run" / "worker.json").unlink(missing_ok=True)
        self._process = start_stage(
            self.subject.name, self.environment(), self._directory / "worker.log"
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def exit_code(self) -> int:
        assert self._process is not None
        return self._process.wait(60)

    def send(self, numbers: range) -> None:
        make = self.subject.make
        self.writer.send([make(self.codec, self.project, number) for number in numbers])

    def poison(self, *values: bytes) -> None:
        """Records that nobody can read, in one partition."""
        topic, partition = self.where
        self.writer.send(
            [Outgoing(topic=topic, value=value, partition=partition) for value in values]
        )

    @property
    def where(self) -> Partition:
        """Where the poison goes."""
        return self.subject.topic, self.partition

    def count(self) -> int:
        return int(self.subject.content(self.clickhouse, self.project).num_rows)

    def await_rows(self, count: int, seconds: float = 120.0) -> None:
        wait_until(lambda: self.count() == count, lambda: f"{count} rows: {self.count()}", seconds)

    def await_committed(self) -> None:
        """Until everything in the partition of the poison is acknowledged."""
        (end,) = self.offsets.ends([self.where]).values()

        def committed() -> bool:
            return self.offsets.committed(self.group, [self.where]).get(self.where) == end

        wait_until(committed, f"the commit of {end} in {self.where}")

    def beat(self) -> dict[str, Any]:
        """What the process that runs now says of itself."""
        return read_heartbeat(self._directory / "run" / "worker.json")

    def await_halt(self) -> dict[str, Any]:
        wait_until(lambda: bool(self.beat().get("halted")), "a halt in the heartbeat")
        (halt,) = self.beat()["halted"]
        return cast("dict[str, Any]", halt)

    def letters(self, values: set[bytes]) -> Counter[tuple[bytes, str]]:
        """Dead letters with these values: (key, reason) -> how many of them."""
        tailer = Tailer(self.kafka, [f"{self.subject.topic}.dlq"], name="test.letters")
        found: Counter[tuple[bytes, str]] = Counter()
        try:
            while not tailer.caught_up:
                for record in tailer.read():
                    if record.value in values:
                        reason = record.headers["headrace.error.reason"].decode()
                        found[record.key or b"", reason] += 1
        finally:
            tailer.close()
        return found

    def resume(self) -> None:
        result = CliRunner().invoke(
            app, ["resume", f"{self.subject.topic}/{self.partition}"], env=self.environment()
        )
        assert result.exit_code == 0, result.output

    def close(self) -> None:
        self.kill()
        self.writer.close()
        self._registry.close()
        self.clickhouse.close()
