"""From records of `headrace.spans` to batches, and what becomes of those that are none."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from headrace.connectors.kafka import (
    FORWARDED_HEADER,
    DeadLetter,
    Decoder,
    LogRecord,
    Outgoing,
    Patience,
)
from headrace.schemas import Codec, MalformedRecord, partition_of, read_span_batch
from headrace.streams.assemble.columns import LoggedBatch

logger = logging.getLogger(__name__)

_partition_of = lru_cache(maxsize=1 << 17)(partition_of)


@dataclass(slots=True)
class TakenRecords:
    """What the records of a take are: batches in log order, and records for other topics."""

    batches: list[LoggedBatch] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    forwards: list[Outgoing] = field(default_factory=list)


class BatchReader:
    """Reads records; one that cannot be read is set aside, never skipped in silence."""

    def __init__(
        self, codec: Codec, *, partitions: int, stage: str, unknown_schema_s: float
    ) -> None:
        self._codec = codec
        self._partitions = partitions
        self._decoder = Decoder(self.batch_of, stage=stage, unknown_schema_s=unknown_schema_s)

    async def read(self, records: Sequence[LogRecord], patience: Patience) -> TakenRecords:
        """Read a take's records. Waits for the registry, and for a schema it may learn of."""
        decoded = await self._decoder.adecode(records, patience)
        intake = TakenRecords(letters=decoded.refused)
        for record, batch in decoded.taken:
            self._place(record, batch, intake)
        return intake

    def batch_of(self, record: LogRecord) -> LoggedBatch:
        """What a record holds, its own partition's episodes marked.

        Raises MalformedRecord, or what the codec raises.
        """
        columns = read_span_batch(self._codec.decode(record.topic, record.value))
        names = {(e["project"], e["rollout_id"], e["attempt"]) for e in columns.episodes}
        if len(names) < len(columns.episodes):
            # The same span id could then stand twice, and which is the span nobody could tell.
            raise MalformedRecord("SpanBatch.episodes: an attempt stands twice")
        here = tuple(
            _partition_of(episode["rollout_id"], self._partitions) == record.partition
            for episode in columns.episodes
        )
        if record.forwarded and not any(here):
            raise MalformedRecord(
                f"SpanBatch: none of its episodes lives in partition {record.partition}, to which "
                f"it was sent on ({FORWARDED_HEADER}): produce it to murmur2(rollout_id) mod "
                f"{self._partitions}, without that header"
            )
        return LoggedBatch(
            columns=columns,
            partition=record.partition,
            offset=record.offset,
            log_time=record.log_time,
            size=len(record.value or b""),
            own=None if all(here) else here,
        )

    def _place(self, record: LogRecord, batch: LoggedBatch, intake: TakenRecords) -> None:
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
