"""The sink: fills `outcomes`, `policies`, `tasks`, `dead_letters` and `drops` from their topics.

Reads committed records only (outcomes come in transactions, which Faust would not respect),
inserts, then commits: a record that comes twice writes the same row again.
"""

import logging
import os
import signal
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import (
    DeadLetter,
    DeadLetters,
    KafkaConfig,
    KafkaUnavailable,
    Partition,
    Registry,
    consumer_settings,
    letter_of,
)
from headrace.connectors.worker.exits import EXIT_RESUMED
from headrace.connectors.worker.heartbeat import write_heartbeat
from headrace.schemas import Codec, MalformedRecord, UnknownSchemaId
from headrace.schemas.topics import Topic, is_dead_letters
from headrace.streams.errors import StreamsSettingsError
from headrace.streams.host.guard import make_guard
from headrace.streams.sink.config import SinkConfig, config_from_environment
from headrace.streams.sink.tables import (
    DEAD_LETTERS,
    SCHEMAS,
    TOPICS,
    UNSIGNED,
    Message,
    Row,
    dead_letter_row,
    log_row,
)
from headrace.streams.sinks import UNAVAILABLE

logger = logging.getLogger(__name__)
T = TypeVar("T")

NAME = "sink"
_RETRY_S = 0.25
_HEARTBEAT_S = 1.0
_OUT_OF_RANGE = (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET)
_MAX_WAIT_MS = 24 * 3600 * 1000  # waiting for ClickHouse is no reason to lose the partitions


class Stopped(Exception):
    """The sink was told to stop while it waited."""


class Sink:
    """Consumes until `stop` is set. Its consumer group holds the positions."""

    def __init__(self, config: SinkConfig, stop: threading.Event) -> None:
        kafka = KafkaConfig(bootstrap=config.bootstrap, client_id=f"headrace.{NAME}")
        self._config = config
        self._stop = stop
        self._clickhouse = ClickHouse(config.clickhouse)
        self._registry = Registry(config.registry_url)
        self._codec = Codec(self._registry)
        self._dead_letters = DeadLetters(kafka)
        self._consumer = Consumer(
            consumer_settings(
                kafka,
                group=config.group,
                group_instance_id=instance_id(config.member, TOPICS),
                session_timeout_ms=int(config.session_timeout_s * 1000),
                max_poll_interval_ms=_MAX_WAIT_MS,
                topic_metadata_refresh_interval_ms=5_000,
                # A position that the log no longer holds is told, and never jumped over.
                auto_offset_reset="error",
            )
        )
        self._guard = make_guard(
            kafka, config.registry_url, stage=NAME, group=config.group, limit=config.poison
        )
        self._positions: dict[Partition, int] = {}
        self._counters: Counter[str] = Counter()
        self._waiting = ""
        self._beat_at = 0.0

    def run(self) -> bool:
        """Fill the tables until told to stop; raises only on bugs and fatal client errors.

        Returns True if it ended because a halted partition may go on: a restart reads it on.
        """
        self._consumer.subscribe(list(TOPICS), on_assign=self._assigned)
        try:
            while not self._stop.is_set():
                if self._beat() and self._guard.halted and self._durably(self._guard.resumed):
                    logger.warning("%s leaves to read halted partitions on", self._config.member)
                    return True
                messages = self._read()
                if messages:
                    self._store(messages)
        except Stopped:
            logger.info("the sink was stopped while it waited; nothing was committed")
        finally:
            self._consumer.close()
            self._dead_letters.close()
            self._clickhouse.close()
            self._registry.close()
        return False

    def _assigned(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        """Begin where the group stopped; what is halted is assigned and not fetched."""
        places = [(part.topic, part.partition) for part in partitions]
        positions = self._durably(self._guard.assigned, places)
        halted = {where: halt.end for where, halt in self._guard.halted.items()}
        starts = positions | halted
        consumer.assign([TopicPartition(*where, starts[where]) for where in places])
        self._pause_halted()

    def _pause_halted(self) -> None:
        halted = [TopicPartition(*where) for where in self._guard.halted]
        if halted:
            self._consumer.pause(halted)

    def _read(self) -> list[Message]:
        messages = []
        for message in self._consumer.consume(self._config.batch_records, self._config.batch_s):
            error = message.error()
            if error is None:
                messages.append(_message(message))
            elif error.fatal():
                raise KafkaUnavailable(f"reading {message.topic()}: {error.str()}")
            elif error.code() in _OUT_OF_RANGE:
                self._out_of_range(str(message.topic()), int(message.partition() or 0), error.str())
            else:  # the client goes on by itself
                logger.warning("reading %s: %s", message.topic(), error.str())
        return messages

    def _out_of_range(self, topic: str, partition: int, message: str) -> None:
        """Halt a partition whose next record is gone; anything else is no case for going on."""
        where = (topic, partition)
        if where in self._guard.halted:
            return
        self._durably(self._guard.check_expected, where)
        if where not in self._guard.halted:
            raise KafkaUnavailable(f"reading {topic}/{partition}: {message}")
        self._pause_halted()

    def _store(self, fetched: Sequence[Message]) -> None:
        # What was fetched before a partition was halted may still arrive.
        messages = [m for m in fetched if self._guard.admits((m.topic, m.partition), m.offset)]
        if not messages:
            return
        rows: dict[str, list[Row]] = {}
        refused: list[DeadLetter] = []
        for message in messages:
            try:
                row = self._row(message)
            except (MalformedRecord, UnknownSchemaId) as error:
                refused.append(letter_of(message, error, stage=NAME))
                continue
            if row is not None:
                rows.setdefault(row[0], []).append(row[1])
        if refused:
            self._durably(self._dead_letters.send, refused)
        for table, some in rows.items():
            self._durably(
                self._clickhouse.insert_arrow, table, pa.Table.from_pylist(some, SCHEMAS[table])
            )
        self._commit(messages)
        self._guard.taken({(m.topic, m.partition): m.offset + 1 for m in messages})
        if refused:
            log_times = {(m.topic, m.partition): m.log_time for m in messages}
            self._durably(self._guard.refused, refused, log_times)
            self._pause_halted()
        self._counters["records"] += len(messages)
        self._counters["dead_letters"] += len(refused)
        self._counters.update({table: len(some) for table, some in rows.items()})

    def _row(self, message: Message) -> tuple[str, Row] | None:
        if is_dead_letters(message.topic):
            return DEAD_LETTERS, dead_letter_row(message)
        if message.value is None and message.topic == Topic.POLICIES:
            return None  # a tombstone of the compacted topic
        end = time.monotonic() + self._config.unknown_schema_s
        while True:
            try:
                data = self._durably(self._codec.decode, message.topic, message.value)
            except UnknownSchemaId:
                # A registry that was restored may learn it in a moment.
                if time.monotonic() > end:
                    raise
                self._pause()
                continue
            return _storable(log_row(message, data))

    def _commit(self, messages: Sequence[Message]) -> None:
        ends: dict[tuple[str, int], int] = {}
        for message in messages:
            ends[message.topic, message.partition] = message.offset + 1
        self._positions |= ends
        try:
            self._consumer.commit(
                offsets=[TopicPartition(*where, offset) for where, offset in ends.items()],
                asynchronous=False,
            )
        except KafkaException as error:
            # Not lost: whoever reads these records again writes the same rows.
            logger.warning("positions of the sink were not committed: %s", error.args[0])

    def _durably(self, call: Callable[..., T], *arguments: object) -> T:
        """Make a call until its other side is there; the same bytes each time."""
        while True:
            try:
                result = call(*arguments)
            except UNAVAILABLE as error:
                if not self._waiting:
                    logger.warning("%s waits: %s", NAME, error)
                self._waiting = str(error)
                self._pause()
                continue
            self._waiting = ""
            return result

    def _pause(self) -> None:
        self._beat()
        if self._stop.wait(_RETRY_S):
            raise Stopped

    def _beat(self) -> bool:
        """Write the heartbeat if its second is over; whether it was."""
        if time.monotonic() < self._beat_at:
            return False
        self._beat_at = time.monotonic() + _HEARTBEAT_S
        if self._config.run_directory is None:
            return True
        assigned = self._consumer.assignment()
        write_heartbeat(
            self._config.run_directory / f"{self._config.member}.json",
            {
                "stage": NAME,
                "member": self._config.member,
                "group": self._config.group,
                "topics": list(TOPICS),
                "pid": os.getpid(),
                "time": time.time(),
                "partitions": sorted(f"{part.topic}/{part.partition}" for part in assigned),
                "ready": bool(assigned),
                "positions": {f"{t}/{p}": end for (t, p), end in sorted(self._positions.items())},
                "counters": dict(self._counters),
                "halted": self._guard.report(),
                "waiting": self._waiting,
            },
        )
        return True


def instance_id(member: str, topics: Sequence[str]) -> str:
    """The static member id (KIP-345) of a sink that subscribes to these topics.

    A static member that comes back at once with other topics keeps its old assignment: with other
    topics it is another member, and the group is shared out anew.
    """
    return f"{member}-{zlib.crc32(' '.join(sorted(topics)).encode()):08x}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the sink until SIGTERM or SIGINT; its settings are `HEADRACE_*` in the environment."""
    del argv  # the environment says it all
    try:
        config = config_from_environment()
    except StreamsSettingsError as error:
        logger.critical("%s", error)
        sys.exit(2)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if Sink(config, stop).run():
        sys.exit(EXIT_RESUMED)


def _message(message: Any) -> Message:
    headers = {name: value or b"" for name, value in message.headers() or ()}
    return Message(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        log_time=message.timestamp()[1],
        value=message.value(),
        headers=headers,
    )


def _storable(row: tuple[str, Row] | None) -> tuple[str, Row] | None:
    """The row, if its columns can hold it; raises MalformedRecord."""
    if row is None:
        return None
    for name, kind in UNSIGNED[row[0]].items():
        if not 0 <= row[1][name] < 1 << kind.bit_width:
            raise MalformedRecord(f"{name} is {row[1][name]}: {row[0]} cannot hold it")
    return row
