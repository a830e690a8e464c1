"""From records of `headrace.spans` to batches, and what becomes of those that are none."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

from headrace.connectors.kafka import DeadLetter, Outgoing, letter_of
from headrace.schemas import (
    Codec,
    MalformedRecord,
    RegistryUnavailable,
    SchemaError,
    UnknownSchemaId,
    partition_of,
    read_span_batch,
    unframe,
)
from headrace.streams.assemble.columns import LoggedBatch
from headrace.streams.host.app import FORWARDED_HEADER
from headrace.streams.sinks import Patience
from headrace.streams.stage import LogRecord

logger = logging.getLogger(__name__)

_partition_of = lru_cache(maxsize=1 << 17)(partition_of)
_ASK_AGAIN_S = 0.5


@dataclass(slots=True)
class Intake:
    """What the records of a take are: batches in log order, and records for other topics."""

    batches: list[LoggedBatch] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    forwards: list[Outgoing] = field(default_factory=list)


class Reader:
    """Reads records; a record that cannot be read is set aside, never skipped in silence."""

    def __init__(
        self, codec: Codec, *, partitions: int, stage: str, unknown_schema_seconds: float
    ) -> None:
        self._codec = codec
        self._partitions = partitions
        self._stage = stage
        self._unknown_schema_seconds = unknown_schema_seconds
        self._given_up: set[int] = set()

    async def read(self, records: Sequence[LogRecord], patience: Patience) -> Intake:
        """Read a take's records. Waits for the registry, and for a schema it may learn of."""
        results = await asyncio.to_thread(lambda: [self._attempt(record) for record in records])
        intake = Intake()
        for record, first in zip(records, results, strict=True):
            result = first
            if isinstance(result, UnknownSchemaId | RegistryUnavailable):
                result = await self._insist(record, patience)
            if isinstance(result, SchemaError):
                intake.letters.append(self._letter(record, result))
            else:
                self._place(record, result, intake)
        return intake

    def _attempt(self, record: LogRecord) -> LoggedBatch | SchemaError:
        try:
            return self._decode(record)
        except SchemaError as error:
            return error

    def _decode(self, record: LogRecord) -> LoggedBatch:
        columns = read_span_batch(self._codec.decode(record.topic, record.value))
        names = {(e["project"], e["rollout_id"], e["attempt"]) for e in columns.episodes}
        if len(names) < len(columns.episodes):
            # The same span id could then stand twice, and which is the span nobody could tell.
            raise MalformedRecord("SpanBatch.episodes: an attempt stands twice")
        here = tuple(
            _partition_of(episode["rollout_id"], self._partitions) == record.partition
            for episode in columns.episodes
        )
        return LoggedBatch(
            columns=columns,
            partition=record.partition,
            offset=record.offset,
            log_time=record.log_time,
            own=None if all(here) else here,
        )

    async def _insist(
        self, record: LogRecord, patience: Patience
    ) -> LoggedBatch | MalformedRecord | UnknownSchemaId:
        """Ask until the registry answers, and for an id it does not know a while longer."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._unknown_schema_seconds
        schema_id, _ = unframe(record.value)
        while True:
            try:
                return await patience.until_done(partial(self._decode, record))
            except MalformedRecord as error:
                return error
            except UnknownSchemaId as error:
                if schema_id in self._given_up or loop.time() > end:
                    self._given_up.add(schema_id)
                    patience.waiting = ""
                    return error
                patience.waiting = str(error)
                await asyncio.sleep(_ASK_AGAIN_S)

    def _letter(self, record: LogRecord, error: SchemaError) -> DeadLetter:
        logger.warning("%s/%d/%d: %s", record.topic, record.partition, record.offset, error)
        return letter_of(record, error, stage=self._stage)

    def _place(self, record: LogRecord, batch: LoggedBatch, intake: Intake) -> None:
        """Keep a batch; what it holds of other partitions is sent on whole, once."""
        intake.batches.append(batch)
        if batch.own is None or record.forwarded:
            return
        others = {
            _partition_of(episode["rollout_id"], self._partitions)
            for episode, own in zip(batch.columns.episodes, batch.own, strict=True)
            if not own
        }
        logger.warning(
            "%s/%d/%d: misplaced, sent on to %s",
            record.topic,
            record.partition,
            record.offset,
            sorted(others),
        )
        intake.forwards.extend(
            Outgoing(
                topic=record.topic,
                value=record.value,
                partition=other,
                headers=((FORWARDED_HEADER, b""),),
            )
            for other in sorted(others)
        )
