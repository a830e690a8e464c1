"""Partitions whose log lost records, on the real broker: halted until the loss is accepted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import TopicPartition

# Public names, but not in an __all__.
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from typer.testing import CliRunner, Result

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka import KafkaConfig, Outgoing, Writer
from headrace.connectors.worker.exits import EXIT_RESUMED
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.infra.cli import app
from headrace.infra.cli.app import VERBS
from headrace.schemas import new_ulid
from tests.support.environment import environment_of
from tests.support.stages import start_stage
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

HERE = Path(__file__).parent
GOOD = b"good"
SECONDS = 60.0

for verb in VERBS:  # as the command does
    import_module(f"headrace.infra.cli.{verb}")


class HaltBench:
    """A topic of two partitions, and a process of one stage on it at a time."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.stack = stack
        self.topic = f"test.{new_ulid()}"
        self.group = f"group.{self.topic}"
        self.directory = directory
        self.notes = directory / "notes"
        self.admin = AdminClient({"bootstrap.servers": stack.bootstrap})
        self.writer = Writer(KafkaConfig(bootstrap=stack.bootstrap))
        for made in self.admin.create_topics([NewTopic(self.topic, num_partitions=2)]).values():
            made.result(SECONDS)
        self.process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        return environment_of(
            self.stack,
            HEADRACE_GROUP=self.group,
            HEADRACE_RUN_DIRECTORY=self.directory / "run",
            HEADRACE_DATA_DIRECTORY=self.directory / "data",
            HEADRACE_STREAMS_SESSION_TIMEOUT_S=6,
        )

    def start(self) -> None:
        (self.directory / "data").mkdir(exist_ok=True)
        (self.directory / "run" / "noting-0.json").unlink(missing_ok=True)
        with (self.directory / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "noting_stage.py"), self.topic, str(self.notes)],
                env=self.environment(),
                stdout=log,
                stderr=log,
            )

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(SECONDS)
            self.process = None

    def write(self, partition: int, *values: bytes) -> None:
        self.writer.send(
            [Outgoing(topic=self.topic, value=value, partition=partition) for value in values]
        )

    def lose(self, partition: int, before: int) -> None:
        """Let the log forget what stands before an offset, as its retention does."""
        asked = [TopicPartition(self.topic, partition, before)]
        for future in self.admin.delete_records(asked).values():
            future.result(SECONDS)

    def taken(self, partition: int) -> list[int]:
        """Offsets noted of a partition, each once, in order."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        places = {(int(place), int(offset)) for place, offset in map(str.split, lines)}
        return sorted(offset for place, offset in places if place == partition)

    def halted(self) -> list[dict[str, Any]]:
        """What the worker says of halted partitions."""
        beat = read_heartbeat(self.directory / "run" / "noting-0.json") or {}
        found: list[dict[str, Any]] = beat.get("halted", [])
        return found

    def await_halt(self) -> dict[str, Any]:
        wait_until(lambda: bool(self.halted()), "a halt in the heartbeat")
        (halt,) = self.halted()
        return halt

    def await_committed(self, partition: int, offset: int) -> None:
        from headrace.connectors.kafka import Offsets

        asking = Offsets(KafkaConfig(bootstrap=self.stack.bootstrap))
        where = (self.topic, partition)
        wait_until(
            lambda: asking.committed(self.group, [where]).get(where) == offset,
            f"the commit of {offset} in partition {partition}",
        )

    def resume(self, *arguments: str) -> Result:
        """`headrace resume` for our partitions."""
        return CliRunner().invoke(
            app, ["resume", f"{self.topic}/0", *arguments], env=self.environment()
        )

    def await_exit(self) -> int:
        assert self.process is not None
        return self.process.wait(SECONDS)


@pytest.fixture
def bench(stack: Stack, tmp_path: Path) -> Iterator[HaltBench]:
    made = HaltBench(stack, tmp_path)
    yield made
    made.stop()
    made.writer.close()


def test_what_was_lost_while_the_worker_was_away_is_never_jumped_over_in_silence(
    bench: HaltBench,
) -> None:
    bench.write(0, GOOD, GOOD)
    bench.write(1, GOOD)
    bench.start()
    bench.await_committed(0, 2)
    bench.await_committed(1, 1)
    bench.stop()
    bench.write(0, *[GOOD] * 10)
    bench.lose(0, before=5)
    bench.start()
    halt = bench.await_halt()
    assert (halt["partition"], halt["offset"], halt["reason"]) == (0, 2, "log_lost")
    refused = bench.resume()
    assert refused.exit_code == 1
    assert "--accept-loss" in refused.output
    bench.write(1, GOOD)
    wait_until(lambda: bench.taken(1) == [0, 1], "the other partition's records")
    assert bench.taken(0) == [0, 1]
    accepted = bench.resume("--accept-loss", "--json")
    assert accepted.exit_code == 0
    (resumed,) = json.loads(accepted.output)["resumed"]
    assert (resumed["offset"], resumed["end"]) == (2, 5)
    assert bench.await_exit() == EXIT_RESUMED
    bench.start()
    wait_until(lambda: bench.taken(0) == [0, 1, *range(5, 12)], "what the log still holds")
    bench.await_committed(0, 12)
    bench.stop()
    bench.start()
    bench.write(0, GOOD)
    wait_until(lambda: bench.taken(0)[-1] == 12, "the next record")
    assert bench.halted() == []


def test_what_was_lost_under_a_slow_worker_is_noticed_too(bench: HaltBench) -> None:
    bench.write(0, GOOD, GOOD)
    bench.start()
    bench.await_committed(0, 2)
    assert bench.process is not None
    bench.process.send_signal(signal.SIGSTOP)
    time.sleep(1.5)  # its waiting fetch ends, empty: what is written now was not fetched
    bench.write(0, *[GOOD] * 10)
    bench.lose(0, before=8)
    bench.process.send_signal(signal.SIGCONT)
    halt = bench.await_halt()
    assert (halt["partition"], halt["offset"], halt["reason"]) == (0, 2, "log_lost")
    assert bench.taken(0) == [0, 1]


def test_resume_without_anything_halted_says_so(bench: HaltBench) -> None:
    result = bench.resume()
    assert result.exit_code == 1
    assert f"{bench.topic}/0 is not halted" in result.output


def test_the_sink_halts_too_and_an_accepted_loss_has_a_row(stack: Stack, tmp_path: Path) -> None:
    dlq, database = "headrace.halts.dlq", "halted"
    clickhouse = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=database))
    migrate.apply(clickhouse)
    environment = environment_of(
        stack,
        HEADRACE_CLICKHOUSE_DATABASE=database,
        HEADRACE_GROUP=f"test.{new_ulid()}",
        HEADRACE_RUN_DIRECTORY=tmp_path,
    )
    writer = Writer(KafkaConfig(bootstrap=stack.bootstrap))

    def rows() -> int:
        where = f"WHERE topic = '{dlq}'"
        return len(clickhouse.query(f"SELECT offset FROM dead_letters FINAL {where}"))

    def halted() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (read_heartbeat(tmp_path / "sink-0.json") or {})["halted"]
        return found

    def start() -> subprocess.Popen[bytes]:
        (tmp_path / "sink-0.json").unlink(missing_ok=True)
        return start_stage("sink", environment, tmp_path / "sink.log")

    def resume(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["resume", *arguments], env=dict(environment))

    def said_halted() -> bool:
        return (tmp_path / "sink-0.json").exists() and bool(halted())

    letters = [Outgoing(topic=dlq, value=b"a letter", partition=0)]
    process = start()
    try:
        writer.send(letters * 2)
        wait_until(lambda: rows() == 2, "two dead letters in ClickHouse")
        process.terminate()
        assert process.wait(SECONDS) == 0
        writer.send(letters * 3)
        admin = AdminClient({"bootstrap.servers": stack.bootstrap})
        for future in admin.delete_records([TopicPartition(dlq, 0, 4)]).values():
            future.result(SECONDS)
        process = start()
        wait_until(said_halted, "the lost range in the heartbeat")
        (halt,) = halted()
        assert (halt["topic"], halt["offset"], halt["reason"]) == (dlq, 2, "log_lost")
        assert resume(f"{dlq}/0", "--accept-loss").exit_code == 0
        assert process.wait(SECONDS) == EXIT_RESUMED
        process = start()
        wait_until(lambda: rows() == 3, "what the log still holds")
        drops = "SELECT topic, first_offset, last_offset, reason FROM drops FINAL WHERE topic = "
        wait_until(lambda: bool(clickhouse.query(f"{drops}'{dlq}'")), "the row of the loss")
        assert clickhouse.query(f"{drops}'{dlq}'") == [
            {"topic": dlq, "first_offset": 2, "last_offset": 3, "reason": "log_lost"}
        ]
    finally:
        process.kill()
        process.wait()
        writer.close()
        clickhouse.close()
