"""Tasks of a consumer group, one at a time: decoded, or set aside, or halted where it must be."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial

from confluent_kafka import KafkaError

from headrace.connectors.kafka import (
    DeadLetters,
    Decoder,
    GroupReader,
    KafkaConfig,
    KafkaUnavailable,
    LogRecord,
    Partition,
    Patience,
    Registry,
    Resuming,
    Stopped,
    ends_of,
    make_guard,
)
from headrace.connectors.runner.config import RunnerConfig
from headrace.connectors.runner.errors import ReadingFailed
from headrace.connectors.runner.unfinished import Unfinished
from headrace.schemas import Codec, Halt, Task, check_id, from_avro
from headrace.schemas.topics import Topic

TOPIC = Topic.TASKS
STAGE = "runner"
_ANSWER_S = 0.5


class TaskReader:
    """The tasks that a group gives to this runner. A task whose record is finished is committed.

    What cannot be read is on the dead-letter topic, and counted, before it is finished. A halted
    partition is not read on until a person has let it go on, and then where it stopped.

    on_revoked: gets the partitions of tasks that are taken away, before they are. on_error: gets
    what the client reports of the cluster. Not for sharing between threads.
    """

    def __init__(
        self,
        config: RunnerConfig,
        kafka: KafkaConfig,
        patience: Patience,
        *,
        on_revoked: Callable[[Sequence[int]], None],
        on_error: Callable[[KafkaError], None],
    ) -> None:
        self._on_revoked = on_revoked
        self._patience = patience
        self._registry = Registry(config.registry)
        codec = Codec(self._registry)
        limit = config.poison
        self._decoder = Decoder(
            lambda record: task_of(codec, record),
            stage=STAGE,
            unknown_schema_s=limit.unknown_schema_s,
        )
        self._letters = DeadLetters(kafka)
        self._guard = make_guard(kafka, codec, stage=STAGE, group=config.group, limit=limit)
        self._resuming = Resuming(self._guard, patience)
        self._unfinished = Unfinished()
        self._paused: set[Partition] = set()
        self._reader = GroupReader(
            kafka,
            [TOPIC],
            group=config.group,
            on_assigned=self._assigned,
            on_revoked=self._revoked,
            on_error=on_error,
            session_timeout_ms=10_000,
            partition_assignment_strategy="cooperative-sticky",
            # A position that the log no longer holds is reported, and never skipped.
            auto_offset_reset="error",
        )

    @property
    def halted(self) -> Mapping[Partition, Halt]:
        """Partitions of this runner that are not read on."""
        return self._guard.halted

    def next(self, timeout: float, *, full: bool) -> list[tuple[LogRecord, Task]]:
        """The next task, if one comes in `timeout` seconds and there is room (not `full`).

        Call it often all the same: it keeps the membership alive. Raises ReadingFailed if the
        client fails for good, and Stopped while it waits.
        """
        self._take_up()
        self._pause(full=full)
        try:
            records = self._reader.read(timeout, 1)
        except KafkaUnavailable as error:
            raise ReadingFailed(f"cannot read {TOPIC}: {error}") from error
        for where in self._reader.lost:
            self._patience.until_done(partial(self._guard.check_expected, where))
        return self._decoded([one for one in records if self._guard.admits(*_place(one))])

    def finished(self, partition: int, offset: int) -> None:
        """A task needs no other try."""
        self._unfinished.finished(partition, offset)

    def holds(self, partition: int) -> bool:
        """Whether nobody else reads a partition."""
        return self._unfinished.holds(partition)

    def commit(self) -> None:
        """Commit up to the first task that has not finished."""
        news = self._unfinished.committable()
        # Not waited for: what was not committed is run again after a restart.
        self._reader.commit(
            {(TOPIC, number): offset for number, offset in news.items()}, wait=False
        )

    def keep_alive(self, timeout: float) -> None:
        """Read no further, and stay a member."""
        self._reader.pause(self._reader.assigned)
        with suppress(Stopped):  # what it is given now is not for this runner
            self._reader.read(timeout, 1)

    def answers(self) -> None:
        """Ask the brokers for something small; raises what the client raises if none answers."""
        self._reader.answers(_ANSWER_S)

    def close(self) -> None:
        """Leave the group, and let the clients go."""
        self._reader.close()
        self._letters.close()
        self._guard.close()
        self._registry.close()

    def _decoded(self, records: Sequence[LogRecord]) -> list[tuple[LogRecord, Task]]:
        for record in records:
            self._unfinished.started(record.partition, record.offset)
        decoded = self._decoder.decode(records, self._patience)
        self._patience.until_done(lambda: self._letters.send(decoded.refused))
        self._guard.taken(ends_of(records))
        self._patience.until_done(lambda: self._guard.refused(decoded.refused))
        for letter in decoded.refused:
            self.finished(letter.partition, letter.offset)
        return decoded.taken

    def _take_up(self) -> None:
        again = self._resuming.take_up()
        self._reader.seek(again)
        self._reader.resume(again)
        self._paused -= set(again)

    def _pause(self, *, full: bool) -> None:
        """Fetch nothing where there is no room, nor of what is halted."""
        assigned = set(self._reader.assigned)
        wanted = assigned if full else assigned & set(self.halted)
        self._reader.pause(wanted - self._paused)
        self._reader.resume((self._paused - wanted) & assigned)
        self._paused = wanted

    def _assigned(self, places: Sequence[Partition]) -> Mapping[Partition, int]:
        """Begin where the group stopped; what is halted is assigned and not fetched."""
        held: Collection[Partition] = self._reader.assigned
        starts = self._patience.until_done(lambda: self._guard.assigned(places, held=held))
        self._paused -= set(places)
        halted = {where: self.halted[where].end for where in places if where in self.halted}
        return {where: starts[where] for where in places if where in starts} | halted

    def _revoked(self, places: Sequence[Partition]) -> None:
        self._on_revoked([partition for _, partition in places])
        self._unfinished.lost(partition for _, partition in places)
        self._paused -= set(places)  # they are not, if they ever come back


def task_of(codec: Codec, record: LogRecord) -> Task:
    """The task that a record is; raises MalformedRecord, and what the codec raises."""
    task = from_avro(Task, codec.decode(TOPIC, record.value))
    for name in ("project", "rollout_id"):
        check_id(getattr(task, name), name)
    return task


def _place(record: LogRecord) -> tuple[Partition, int]:
    return record.where, record.offset
