"""What whoever reads the log promises of bad records, be it a stage or not, on real parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace.connectors.kafka import (
    HALTED,
    RESUMED,
    HaltLog,
    KafkaAccess,
    KafkaConfig,
    Outgoing,
    Partition,
    PoisonSettings,
    Registry,
    Tailer,
    Writer,
)
from headrace.schemas import Codec, Halt, frame, new_ulid
from tests.connectors.runner.live import group_at_the_end
from tests.integration.readers.subjects import READERS, Bound, Heard, Reader
from tests.support.door import Door
from tests.support.shared_log import readable, without_letters
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

UNKNOWN_ID = 0x7FFFFFFE
MANY = 12
UNKNOWN_S = 1.0
NO_LIMIT = PoisonSettings(poison_limit=0, unknown_schema_s=UNKNOWN_S)


class Log:
    """The topics of one reader, and that reader, a life of it at a time."""

    def __init__(self, stack: Stack, directory: Path, reader: Reader) -> None:
        self.reader = reader
        self.kafka = KafkaConfig(bootstrap=stack.bootstrap)
        self._registry = Registry(stack.registry_url)
        self.codec = Codec(self._registry)
        self.writer = Writer(self.kafka)
        self.halts = HaltLog(self.kafka, self.codec)
        self.project = f"reader-{new_ulid()}"
        self.group = group_at_the_end(stack) if reader.forgets else f"test.{new_ulid()}"
        partition = without_letters(self.kafka, reader.topic, reader.stage)
        self.where: Partition = (reader.topic, partition)
        self._url = stack.registry_url
        self._directory = directory

    @contextmanager
    def reading(self, limit: PoisonSettings, registry: str = "") -> Iterator[Heard]:
        bound = Bound(
            kafka=KafkaAccess(bootstrap=self.kafka.bootstrap),
            registry=registry or self._url,
            project=self.project,
            group=self.group,
            limit=limit,
            directory=self._directory,
        )
        with self.reader.begin(bound) as heard:
            yield heard

    def good(self, numbers: range, partition: int | None = None) -> None:
        make, partition = self.reader.make, self.where[1] if partition is None else partition
        self.writer.send([make(self.codec, self.project, one, partition) for one in numbers])

    def bad(self, *values: bytes) -> None:
        topic, partition = self.where
        self.writer.send(
            [Outgoing(topic=topic, key=new_ulid(), value=v, partition=partition) for v in values]
        )

    def unreadable(self) -> Counter[Partition]:
        """What other tests have written that nobody can read, and a reader of all of it meets."""
        tailer = Tailer(self.kafka, self.reader.reads, name="test.unreadable")
        found: Counter[Partition] = Counter()
        try:
            while not tailer.caught_up:
                for one in tailer.read():
                    if one.value is not None and readable(self.codec, one.topic, one.value) is None:
                        found[one.where] += 1
        finally:
            tailer.close()
        return found

    def halt(self) -> Halt | None:
        halt = self.halts.read().get((self.group, self.where))
        return halt if halt is not None and halt.state == HALTED else None

    def resume(self) -> None:
        halt = self.halt()
        assert halt is not None
        self.halts.write(replace(halt, state=RESUMED))

    def close(self) -> None:
        self.writer.close()
        self.halts.close()
        self._registry.close()


@pytest.fixture(params=READERS, ids=lambda reader: reader.name)
def log(request: pytest.FixtureRequest, stack: Stack, tmp_path: Path) -> Iterator[Log]:
    made = Log(stack, tmp_path, request.param)
    yield made
    made.close()


def until(heard: Heard, number: int) -> None:
    wait_until(lambda: heard() == number, lambda: f"{number} records: {heard()}")


def test_an_absent_registry_is_waited_for_and_what_nobody_can_read_is_left_out(
    log: Log, stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    door = Door.to(stack.registry_url)
    mark = new_ulid().encode()
    unknown = [frame(UNKNOWN_ID, mark + b"%d" % number) for number in range(MANY)]
    log.good(range(1))
    log.bad(b"\x01" + mark, *unknown)
    log.good(range(1, 3))
    try:
        with log.reading(NO_LIMIT, door.url) as heard:
            wait_until(lambda: "waits: " in caplog.text, "a wait for the registry")
            assert heard() == 0
            door.open()
            until(heard, 3)
            log.good(range(3, 4))
            until(heard, 4)
    finally:
        door.close()
    assert log.halt() is None


def test_poison_is_counted_through_a_restart_and_halts_until_a_person_resumes(log: Log) -> None:
    mark = new_ulid().encode()
    before = Counter[Partition]() if log.reader.forgets else log.unreadable()
    limit = PoisonSettings(
        poison_limit=max(before.values(), default=0) + 2, unknown_schema_s=UNKNOWN_S
    )
    log.bad(*(b"\x01%d" % n + mark for n in range(limit.poison_limit - before[log.where])))
    log.good(range(1))
    with log.reading(limit) as heard:
        until(heard, 1)
        assert log.halt() is None

    log.bad(b"\x01more" + mark)
    with log.reading(limit):
        wait_until(lambda: log.halt() is not None, "a halt")
    halt = log.halt()
    assert halt is not None
    assert (halt.stage, halt.reason) == (log.reader.stage, "poison")

    log.good(range(1, 3))
    if log.reader.forgets:  # it does not take again what it has finished
        log.good(range(9, 10), partition=0)
    with log.reading(limit) as heard:
        until(heard, 1)
        assert log.halt() == halt, "halted by another life, and still so"
        log.bad(b"\x01after" + mark)  # what was refused before the halt is forgiven
        log.resume()
        until(heard, 3)
        log.good(range(3, 4))
        until(heard, 4)
    assert log.halt() is None
