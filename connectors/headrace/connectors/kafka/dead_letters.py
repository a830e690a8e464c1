"""The dead-letter topics: untouched bytes, keyed by where they came from."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.errors import KafkaUnavailable, TopicMissing
from headrace.connectors.kafka.offsets import Offsets, Partition
from headrace.connectors.kafka.reader import LogRecord
from headrace.connectors.kafka.tailer import Tailer
from headrace.connectors.kafka.topics import partitions_of
from headrace.connectors.kafka.writer import Outgoing, Writer
from headrace.schemas import SchemaError, UnknownSchemaId
from headrace.schemas.topics import dead_letters_of
from headrace.schemas.vocabulary import LetterReason

_SILENCE_S = 10.0


@dataclass(kw_only=True, slots=True, frozen=True)
class DeadLetter:
    """A record that a stage could not take, and why."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    reason: str
    """A short word for counting, as in `malformed`."""
    message: str = ""
    """What was wrong, for a person."""
    stage: str = ""
    """Who refused it."""
    log_time: int = 0
    """Its own log time in milliseconds; 0: not known."""


def letter_of(record: LogRecord, error: SchemaError, *, stage: str) -> DeadLetter:
    """The dead letter of a record that could not be decoded."""
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        value=record.value,
        reason=LetterReason.UNKNOWN_SCHEMA
        if isinstance(error, UnknownSchemaId)
        else LetterReason.MALFORMED,
        message=str(error),
        stage=stage,
        log_time=record.log_time,
    )


class DeadLetters:
    """Writes dead letters to `<topic>.dlq` and waits until the brokers have them."""

    def __init__(self, config: KafkaConfig) -> None:
        self._writer = Writer(config)

    def send(self, letters: Sequence[DeadLetter], timeout: float | None = None) -> None:
        """Write letters and return when they are durable.

        Raises:
            KafkaUnavailable: they were not acknowledged; send them again.
        """
        if letters:
            self._writer.send([_record(letter) for letter in letters], timeout)

    async def asend(self, letters: Sequence[DeadLetter]) -> None:
        """`send` off the event loop."""
        await asyncio.to_thread(self.send, letters)

    def close(self) -> None:
        """Let the producer go."""
        self._writer.close()


class DeadLetterLog:
    """What was refused before, by the dead-letter topics alone. Blocking."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._offsets = Offsets(config)

    def refused(self, where: Partition, stage: str, since: int) -> dict[int, int]:
        """Records of a partition that a stage refused at a log time (ms) or later: offset -> the
        record's own log time. A record that was refused twice is there once.

        Raises:
            KafkaUnavailable: it cannot be known now.
        """
        topic = dead_letters_of(where[0])
        try:
            count = partitions_of(self._config, topic)
        except TopicMissing:  # then nothing was refused
            return {}
        partitions = [(topic, partition) for partition in range(count)]
        ends = self._offsets.ends(partitions)
        starts = self._offsets.from_time(partitions, since)
        records = read_letters(self._config, topic, starts, ends) if starts != ends else []
        asked = (where[0], str(where[1]), stage)
        facts = [(facts_of(record), record.log_time) for record in records]
        return {
            int(fact["offset"]): int(fact.get("log_time", "0")) or log_time
            for fact, log_time in facts
            if (fact.get("topic"), fact.get("partition"), fact.get("stage")) == asked
        }


def read_letters(
    config: KafkaConfig, topic: str, starts: dict[Partition, int], ends: dict[Partition, int]
) -> list[LogRecord]:
    """The records of a dead-letter topic from some offsets to others. Raises KafkaUnavailable."""
    tailer = Tailer(config, [topic], name="headrace.dead-letters.reader", starts=starts)
    records: list[LogRecord] = []
    try:
        give_up = time.monotonic() + _SILENCE_S
        while not tailer.has_read(ends):
            if read := tailer.read():
                give_up = time.monotonic() + _SILENCE_S
                records += read
            elif time.monotonic() > give_up:
                raise KafkaUnavailable(f"{topic} could not be read to its end")
    finally:
        tailer.close()
    return records


def facts_of(record: LogRecord) -> dict[str, str]:
    """What a dead letter says of its record; of one without our headers nothing."""
    prefix = "headrace.error."
    facts = {
        name.removeprefix(prefix): value.decode(errors="replace")
        for name, value in record.headers.items()
        if name.startswith(prefix)
    }
    numbers = (facts.get("offset", ""), facts.get("log_time", "0"))
    return facts if all(number.isdecimal() for number in numbers) else {}


def _record(letter: DeadLetter) -> Outgoing:
    facts = {
        "topic": letter.topic,
        "partition": str(letter.partition),
        "offset": str(letter.offset),
        "reason": letter.reason,
        "message": letter.message,
        "stage": letter.stage,
        "log_time": str(letter.log_time),
    }
    return Outgoing(
        topic=dead_letters_of(letter.topic),
        key=f"{letter.topic}/{letter.partition}/{letter.offset}",
        value=letter.value,
        headers=tuple(
            (f"headrace.error.{name}", text.encode(errors="replace"))
            for name, text in facts.items()
        ),
    )
