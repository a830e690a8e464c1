"""Records of the log decoded, or refused with a reason: what every reader does with bad ones.

A registry that is away is waited for, for ever. An id that the registry does not know is asked
for again for a while, once: it is remembered when it was given up, and its further records are
refused at once, until the registry knows it after all (each take asks once more).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from headrace.connectors.kafka.dead_letters import DeadLetter, letter_of
from headrace.connectors.kafka.reader import LogRecord
from headrace.connectors.kafka.waiting import Patience
from headrace.schemas import MalformedRecord, SchemaError, Unavailable, UnknownSchemaId, unframe

logger = logging.getLogger(__name__)

T = TypeVar("T")

UNKNOWN_SCHEMA_S = 30.0
"""How long the registry may not know an id: one that was restored may learn it in a moment."""


@dataclass(slots=True)
class Decoded(Generic[T]):
    """What some records are, in the order of the log."""

    taken: list[tuple[LogRecord, T]] = field(default_factory=list)
    refused: list[DeadLetter] = field(default_factory=list)


class Decoder(Generic[T]):
    """Decodes the records of one reader. Not for sharing between threads.

    read: makes of a record what the reader wants; raises MalformedRecord for what is none, and
    what the codec raises. stage: who refuses.
    """

    def __init__(
        self,
        read: Callable[[LogRecord], T],
        *,
        stage: str,
        unknown_schema_s: float = UNKNOWN_SCHEMA_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._stage = stage
        self._asked = AskedIds(unknown_schema_s, clock)

    def decode(self, records: Sequence[LogRecord], patience: Patience) -> Decoded[T]:
        """Decode records; waits for the registry, and for a schema it may learn of."""
        turn = Turn(records, self._read, self._asked)
        while why := turn.step():
            patience.pause(why)
        patience.go_on()
        return turn.result(self._stage)

    async def adecode(self, records: Sequence[LogRecord], patience: Patience) -> Decoded[T]:
        """`decode` off the event loop."""
        turn = Turn(records, self._read, self._asked)
        while records and (why := await asyncio.to_thread(turn.step)):
            await patience.apause(why)
        patience.go_on()
        return turn.result(self._stage)


class AskedIds:
    """Schema ids that the registry did not know, and for how long it was asked. Pure."""

    def __init__(self, limit_s: float, clock: Callable[[], float]) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._spent: dict[int | None, float] = {}
        self._last: dict[int | None, float] = {}

    def unknown(self, schema_id: int | None) -> None:
        """The registry said that it does not know an id."""
        now = self._clock()
        self._spent.setdefault(schema_id, 0.0)
        self._spent[schema_id] += now - self._last.get(schema_id, now)
        self._last[schema_id] = now

    def is_given_up(self, schema_id: int | None) -> bool:
        """Whether it was asked for an id for as long as anybody waits."""
        return self._spent.get(schema_id, 0.0) >= self._limit_s

    def away(self) -> None:
        """The registry did not answer: the time until it does is not held against the ids."""
        self._last.clear()


class Turn(Generic[T]):
    """Some records on their way to being decoded. Pure but for what `read` does."""

    def __init__(
        self, records: Sequence[LogRecord], read: Callable[[LogRecord], T], asked: AskedIds
    ) -> None:
        self._records = records
        self._read = read
        self._asked = asked
        self._open = list(range(len(records)))
        self._values: dict[int, T] = {}
        self._refused: dict[int, SchemaError] = {}

    def step(self) -> str:
        """Try what is not decided yet; returns why some of it has to wait, '' when all is done.

        An id that fails is asked for once a step, however many records have it.
        """
        failed: dict[tuple[str, int | None], UnknownSchemaId | Unavailable] = {}
        waits: dict[int, UnknownSchemaId | Unavailable] = {}
        for index in self._open:
            record = self._records[index]
            place = (record.topic, _schema_id(record))
            error = failed.get(place) or self._try(index, record)
            if error is None:
                continue
            if place not in failed and isinstance(error, UnknownSchemaId):
                self._asked.unknown(place[1])
            failed[place] = error
            if isinstance(error, UnknownSchemaId) and self._asked.is_given_up(place[1]):
                self._refused[index] = error
            else:
                waits[index] = error
        if any(isinstance(error, Unavailable) for error in failed.values()):
            self._asked.away()
        self._open = list(waits)
        return str(next(iter(waits.values()))) or "the registry" if waits else ""

    def result(self, stage: str) -> Decoded[T]:
        """What the records are; call it when `step` has said that all is done."""
        return Decoded(
            taken=[(self._records[i], value) for i, value in sorted(self._values.items())],
            refused=list(self._letters(stage)),
        )

    def _try(self, index: int, record: LogRecord) -> UnknownSchemaId | Unavailable | None:
        """Decode a record, or refuse it; returns what may yet change."""
        try:
            self._values[index] = self._read(record)
        except (UnknownSchemaId, Unavailable) as error:
            return error
        except SchemaError as error:
            self._refused[index] = error
        return None

    def _letters(self, stage: str) -> Iterator[DeadLetter]:
        for index, error in sorted(self._refused.items()):
            record = self._records[index]
            logger.warning("%s refuses %s/%d/%d: %s", stage, *record.where, record.offset, error)
            yield letter_of(record, error, stage=stage)


def _schema_id(record: LogRecord) -> int | None:
    try:
        return unframe(record.value)[0]
    except MalformedRecord:
        return None
