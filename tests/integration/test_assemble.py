"""The assembler on the real broker, registry and ClickHouse engine, killed while it works."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, ClickHouseUnavailable
from headrace.connectors.clickhouse.migrate import Migration
from headrace.connectors.kafka import KafkaConfig, Outgoing, Registry, Tailer, Writer, partitions_of
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.schemas import (
    Codec,
    EpisodeBatch,
    Sample,
    Start,
    from_avro,
    new_ulid,
)
from tests.integration.assemble_load import PROJECT, TOPIC, Load, span
from tests.support.environment import environment_of
from tests.support.shared_log import readable
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

DATABASE = "headrace_assemble_test"
SETTINGS = {
    "HEADRACE_ASSEMBLE_IDLE_MS": "2000",
    "HEADRACE_ASSEMBLE_MEMORY_BYTES": "300000",  # so that most episodes are evicted and rebuilt
    "HEADRACE_STREAMS_UNKNOWN_SCHEMA_S": "1",
}


def create_tables(clickhouse: ClickHouse) -> None:
    """The assembler's tables, in a database of this file's own."""
    clickhouse.ensure_database()
    for migration in Migration.load():
        if migration.name.endswith(("_spans", "_episodes", "_repeated_batches", "_contexts")):
            for statement in migration.statements:
                clickhouse.command(statement)


class Worker:
    """An assembler process, started again whenever it ends, as the supervisor does it."""

    def __init__(self, stack: "Stack", group: str, database: str, **settings: str) -> None:
        self.run = stack.directory / f"run-{group}"
        self.log = stack.directory / f"{group}.log"
        self.starts = 0
        self._stopping = False
        self._environment = {
            **environment_of(stack, **SETTINGS),
            **settings,
            "HEADRACE_CLICKHOUSE_DATABASE": database,
            "HEADRACE_GROUP": group,
            "HEADRACE_RUN_DIRECTORY": str(self.run),
            "HEADRACE_DATA_DIRECTORY": str(stack.directory / "data"),
        }
        self.process = self._start()
        self._thread = threading.Thread(target=self._keep)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "headrace.streams", "assemble"],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _keep(self) -> None:
        while not self._stopping:
            self.process.wait()
            if not self._stopping:
                self.process = self._start()

    def heartbeat(self) -> dict[str, Any]:
        """The report of the process that runs now."""
        report = read_heartbeat(self.run / "assemble-0.json")
        return report if report.get("pid") == self.process.pid else {}

    def wait_ready(self) -> None:
        wait_until(lambda: bool(self.heartbeat().get("ready")), f"worker ready, see {self.log}")

    def kill(self) -> None:
        """SIGKILL; the next process starts at once."""
        before = self.starts
        self.process.send_signal(signal.SIGKILL)
        wait_until(lambda: self.starts > before, "worker started again")

    def stop(self) -> None:
        self._stopping = True
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._thread.join()


@dataclass(frozen=True)
class Setup:
    """What the tests of this file share; they run in order, on one log."""

    stack: "Stack"
    clickhouse: ClickHouse
    load: Load
    kafka: KafkaConfig


@pytest.fixture(scope="module")
def setup(stack: "Stack") -> Iterator[Setup]:
    registry = Registry(stack.registry_url)
    registry.register_all()
    clickhouse = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    create_tables(clickhouse)
    kafka = KafkaConfig(bootstrap=stack.bootstrap)
    writer = Writer(kafka)
    load = Load(writer=writer, codec=Codec(registry), partitions=partitions_of(kafka, TOPIC))
    yield Setup(stack=stack, clickhouse=clickhouse, load=load, kafka=kafka)
    writer.close()
    clickhouse.close()


@pytest.fixture(scope="module")
def worker(setup: Setup) -> Iterator[Worker]:
    running = Worker(setup.stack, "assemble-test", DATABASE)
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()


def ask(setup: Setup, sql: str) -> list[dict[str, Any]]:
    """Rows of a query, asked again while ClickHouse is away."""
    while True:
        try:
            return setup.clickhouse.query(sql, {"project": PROJECT})
        except ClickHouseUnavailable:
            time.sleep(0.2)


def closed_rows(setup: Setup) -> dict[str, dict[str, Any]]:
    rows = ask(
        setup,
        "SELECT * FROM (SELECT * FROM episodes FINAL WHERE project = {project:String}) "
        "WHERE state = 'closed'",
    )
    return {str(row["rollout_id"]): row for row in rows}


def spans_taken(worker: Worker) -> int:
    """Spans that the process that runs now has assembled."""
    return int(worker.heartbeat().get("counters", {}).get("spans", 0))


def is_whole(setup: Setup) -> bool:
    rows = closed_rows(setup)
    return all(
        rollout in rows and rows[rollout]["n_spans"] == len(ids)
        for rollout, ids in setup.load.spans.items()
    )


def published(setup: Setup, topic: str, name: str) -> list[Any]:
    """Decoded values of a topic from its start."""
    tailer = Tailer(setup.kafka, [topic], name=name)
    values = []
    try:
        while not tailer.caught_up:
            read = [readable(setup.load.codec, topic, m.value) for m in tailer.read(1.0)]
            values += [record for record in read if record is not None]
    finally:
        tailer.close()
    return values


def check_everything(setup: Setup) -> None:
    """Every episode once and whole; every span once; one content for each version."""
    load = setup.load
    rows = closed_rows(setup)
    assert set(rows) == set(load.spans)
    for rollout, ids in load.spans.items():
        row = rows[rollout]
        assert row["n_spans"] == len(ids)
        assert (row["version"] % 2, row["version"] > 2 * len(ids)) == (1, True)
        assert (row["complete"], row["missing_batches"]) == (True, 0)
        assert row["closed_by"] == ("end" if rollout in load.ended else "idle")
    (count,) = ask(setup, "SELECT count() AS n FROM spans FINAL WHERE project = {project:String}")
    assert count["n"] == sum(len(ids) for ids in load.spans.values())

    contents: dict[tuple[str, int], set[str]] = defaultdict(set)
    for value in published(setup, "headrace.episodes", "episodes"):
        for episode in from_avro(EpisodeBatch, value).episodes:
            if episode.project == PROJECT:
                contents[episode.rollout_id, episode.version].add(repr(episode))
    assert all(len(found) == 1 for found in contents.values()), "no version has two contents"
    highest: dict[str, int] = defaultdict(int)
    for rollout, version in contents:
        highest[rollout] = max(highest[rollout], version)
    assert highest == {rollout: row["version"] for rollout, row in rows.items()}
    samples = [from_avro(Sample, v) for v in published(setup, "headrace.samples", "samples")]
    found = {sample.sample_id for sample in samples if sample.project == PROJECT}
    assert found == load.samples


def interleaved(episodes: Sequence[list[Outgoing]], chance: random.Random) -> list[Outgoing]:
    """The episodes' records, each episode's in order, about forty at a time, some sent twice."""
    waiting = list(episodes)
    active: list[list[Outgoing]] = []
    records: list[Outgoing] = []
    while waiting or active:
        while waiting and len(active) < 40:
            active.append(list(waiting.pop()))
        chosen = chance.choice(active)
        records.append(chosen.pop(0))
        if not chosen:
            active.remove(chosen)
        if chance.random() < 0.1:
            records.append(chance.choice(records))
    return records


def test_every_episode_is_whole_though_worker_broker_and_clickhouse_are_killed(
    setup: Setup, worker: Worker
) -> None:
    chance = random.Random(7)
    load = setup.load
    rollouts = [new_ulid() for _ in range(250)]
    records = interleaved([load.episode(r, chance.randint(1, 4)) for r in rollouts], chance)
    late = [load.late_reward(r) for r in chance.sample(rollouts, 30)]
    sent, killed = threading.Event(), threading.Event()

    def send() -> None:
        # As long as anything is killed there is load; then the rest at once.
        for i in range(0, len(records), 5):
            load.writer.send(records[i : i + 5])
            killed.wait(0.1)
        load.writer.send(late)
        sent.set()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        wait_until(lambda: spans_taken(worker) > 100, "the worker is at work")
        worker.kill()
        wait_until(lambda: spans_taken(worker) > 100, "the next one is at work")
        setup.stack.kill("clickhouse")
        worker.kill()
        wait_until(lambda: spans_taken(worker) > 100, "ClickHouse is back, so is the worker")
        setup.stack.kill("kafka")
        worker.kill()
    finally:
        killed.set()
        sender.join()
    assert sent.is_set()
    worker.wait_ready()
    wait_until(lambda: is_whole(setup), f"every episode whole, see {worker.log}")
    check_everything(setup)


def test_a_late_reward_after_eviction_makes_a_revision(setup: Setup, worker: Worker) -> None:
    rollout = next(iter(setup.load.spans))
    setup.load.writer.send([setup.load.late_reward(rollout)])
    wait_until(lambda: is_whole(setup), "the revision")
    check_everything(setup)


def test_an_attempt_that_falls_silent_closes_by_the_log_alone(setup: Setup, worker: Worker) -> None:
    load = setup.load
    rollout = new_ulid()
    load.writer.send([load.batch("runner", rollout, span(rollout, "attempt.start", start=Start()))])
    wait_until(lambda: is_whole(setup), "a tick closed it")
    check_everything(setup)


def test_a_full_rebuild_gives_equal_rows(setup: Setup, worker: Worker) -> None:
    wait_until(lambda: is_whole(setup), "nothing is open")
    before = closed_rows(setup)
    spans = "SELECT * FROM spans FINAL WHERE project = {project:String} ORDER BY ALL"
    spans_before = ask(setup, spans)
    repeated = spans.replace("spans FINAL", "repeated_batches FINAL")
    repeated_before = ask(setup, repeated)
    assert repeated_before
    worker.stop()
    for table in ("spans", "episodes", "repeated_batches"):
        setup.clickhouse.command(f"DROP TABLE {table} SYNC")
    create_tables(setup.clickhouse)
    rebuilder = Worker(setup.stack, "assemble-rebuild", DATABASE)
    try:
        wait_until(lambda: is_whole(setup), f"the rebuild, see {rebuilder.log}")
    finally:
        rebuilder.stop()
    assert closed_rows(setup) == before
    assert ask(setup, spans) == spans_before
    assert ask(setup, repeated) == repeated_before
    check_everything(setup)


def test_the_heartbeat_says_where_the_worker_is(setup: Setup, tmp_path: Path) -> None:
    written = json.loads(
        (setup.stack.directory / "run-assemble-test" / "assemble-0.json").read_text()
    )
    assert written["partitions"] == [f"{TOPIC}/{n}" for n in range(setup.load.partitions)]
    assert written["group"] == "assemble-test"
    assert written["counters"]["spans"] > 0
    assert written["waiting"] == ""
