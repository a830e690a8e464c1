"""Whole topics read from their start and followed: what their records are, up to a halt."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.decode import Decoder
from headrace.connectors.kafka.guard import Guard
from headrace.connectors.kafka.halts import HaltLog
from headrace.connectors.kafka.offsets import Offsets, Partition
from headrace.connectors.kafka.poison import PoisonSettings
from headrace.connectors.kafka.reader import MAX_RECORDS, POLL_S, LogRecord, ends_of
from headrace.connectors.kafka.resuming import Resuming
from headrace.connectors.kafka.tailer import Tailer
from headrace.connectors.kafka.waiting import Patience
from headrace.schemas import Codec, Halt

T = TypeVar("T")


class WholeTopics(Generic[T]):
    """Reads for what keeps no place in the log, as a gateway that wants every policy version.

    A record that cannot be read is left out and counted; its dead letter is the sink's, who reads
    the same topics. Past the limit its partition is halted: what comes after that is handed out
    once a person has let it go on. Each start begins at the log's, so it counts the same again.

    read: makes of a record what is wanted (see `Decoder`). stage: who refuses. group: the name of
    its halts. codec: its own, as `read`'s is not another thread's. starts: offsets to begin at,
    for partitions of which what comes before is not wanted.

    Raises, when it is made and as it reads, KafkaUnavailable, TopicMissing, LogLost, and Stopped
    while it waits. Not for sharing between threads.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        codec: Codec,
        topics: Sequence[str],
        read: Callable[[LogRecord], T],
        *,
        stage: str,
        group: str,
        limit: PoisonSettings,
        patience: Patience,
        starts: Mapping[Partition, int] | None = None,
    ) -> None:
        self._decoder = Decoder(read, stage=stage, unknown_schema_s=limit.unknown_schema_s)
        self._patience = patience
        self._tailer = Tailer(kafka, topics, name=group, starts=starts)
        self._guard = Guard(
            stage=stage,
            group=group,
            offsets=Offsets(kafka),
            halts=HaltLog(kafka, codec),
            letters=None,
            limit=limit,
        )
        self._resuming = Resuming(self._guard, patience)
        try:
            patience.until_done(lambda: self._guard.assigned(self._tailer.partitions))
        except BaseException:
            self.close()
            raise

    @property
    def caught_up(self) -> bool:
        """Whether the end of each partition has been seen once."""
        return self._tailer.caught_up

    @property
    def at_end(self) -> bool:
        """Whether all that the log holds now has been handed out."""
        return self._tailer.at_end and not self.halted

    @property
    def halted(self) -> Mapping[Partition, Halt]:
        """Partitions that are not read on until a person says so."""
        return self._guard.halted

    def read(self, timeout: float = POLL_S, limit: int = MAX_RECORDS) -> list[tuple[LogRecord, T]]:
        """The next records; empty when none came within `timeout` seconds.

        Tombstones of a compacted topic are passed over.
        """
        self._tailer.seek(self._resuming.take_up())
        records = [
            record
            for record in self._tailer.read(timeout, limit)
            if self._guard.admits(record.where, record.offset)
        ]
        decoded = self._decoder.decode(
            [record for record in records if record.value is not None], self._patience
        )
        self._guard.taken(ends_of(records))
        self._patience.until_done(lambda: self._guard.refused(decoded.refused))
        return decoded.taken

    def close(self) -> None:
        """Let the clients go."""
        self._tailer.close()
        self._guard.close()
