"""The dead-letter topics: untouched bytes, keyed by where they came from."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.writer import Outgoing, Writer
from headrace.schemas import SchemaError, UnknownSchemaId
from headrace.schemas.topics import dead_letters_of
from headrace.schemas.vocabulary import LetterReason


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


class Refused(Protocol):
    """A record as some reader holds it."""

    @property
    def topic(self) -> str:
        """Topic."""

    @property
    def partition(self) -> int:
        """Partition."""

    @property
    def offset(self) -> int:
        """Offset."""

    @property
    def value(self) -> bytes | None:
        """Its bytes."""


def letter_of(record: Refused, error: SchemaError, *, stage: str) -> DeadLetter:
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


def _record(letter: DeadLetter) -> Outgoing:
    facts = {
        "topic": letter.topic,
        "partition": str(letter.partition),
        "offset": str(letter.offset),
        "reason": letter.reason,
        "message": letter.message,
        "stage": letter.stage,
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
