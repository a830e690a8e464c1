"""The credit stage on the real broker, registry and engine, with its parts killed under it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka import (
    KafkaConfig,
    Offsets,
    Outgoing,
    Partition,
    Registry,
    Tailer,
    Writer,
    partitions_of,
)
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.schemas import (
    Codec,
    Credits,
    CreditsBatch,
    Episode,
    EpisodeBatch,
    EpisodeCall,
    EpisodeReward,
    from_avro,
    partition_of,
    to_avro,
)
from headrace.streams.credit import Arrival, CreditMethod, GroupPatience, Groups
from headrace.streams.credit.table import SCHEMA
from headrace.streams.reward import load_rule
from tests.support.environment import environment_of
from tests.support.shared_log import readable
from tests.support.stages import start_stage
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

EPISODES, CREDITS = "headrace.episodes", "headrace.credits"
PROJECT = "credit-exactly-once"
RULE = "reward-span:success"
SIZE, GROUPS = 4, 40
GRACE_MS = 500
SOON_MS = 5_000


@dataclass
class Worker:
    """One `python -m headrace.streams credit`, to be killed and started again."""

    stack: Stack
    database: str
    directory: Path
    name: str
    process: subprocess.Popen[bytes] | None = None
    more: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        environment = environment_of(
            self.stack,
            HEADRACE_CLICKHOUSE_DATABASE=self.database,
            HEADRACE_CREDIT_RULE=RULE,
            HEADRACE_CREDIT_GRACE_MS=GRACE_MS,
            HEADRACE_CREDIT_MAX_HELD=200,
            HEADRACE_WORKER=self.name,
            HEADRACE_GROUP=f"test.{self.name}",
            HEADRACE_RUN_DIRECTORY=self.directory,
            HEADRACE_DATA_DIRECTORY=self.directory / "data",
            **self.more,
        )
        self.process = start_stage("credit", environment, self.directory / f"{self.name}.log")

    def wait_until_ready(self) -> None:
        """Until this process itself reports that it has loaded its groups."""
        wait_until(self._is_ready, f"{self.name} being ready ({self.directory}/{self.name}.log)")

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def _is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            self.start()
        report = read_heartbeat(self.directory / f"{self.name}.json")
        return report.get("pid") == self.process.pid and bool(report["ready"])


@pytest.fixture
def codec(stack: Stack) -> Iterator[Codec]:
    registry = Registry(stack.registry_url)
    yield Codec(registry)
    registry.close()


@pytest.fixture
def databases(stack: Stack) -> Iterator[tuple[ClickHouse, ClickHouse]]:
    made = [
        ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=name))
        for name in ("credit_first", "credit_rebuilt")
    ]
    for client in made:
        migrate.apply(client)
    yield made[0], made[1]
    for client in made:
        client.close()


def story(now_ms: int) -> list[Episode]:
    """Every Episode in the order of its log; the last word of each rollout decides."""
    episodes = []
    for group in range(GROUPS):
        # Every eighth group never gets its last rollout: its deadline closes it.
        rollouts = SIZE - 1 if group % 8 == 7 else SIZE
        for rollout in range(rollouts):
            value = float((group + rollout) % 3)
            one = Episode(
                project=PROJECT,
                rollout_id=f"g{group:02}-r{rollout}",
                attempt="a0",
                group_id=f"g{group:02}",
                group_size=SIZE,
                group_rollouts=[f"g{group:02}-r{r}" for r in range(SIZE)],
                policy="p",
                split="eval" if group == 0 else "train",
                deadline=now_ms + SOON_MS,
                version=2 * (4 + rollout) + 1,
                status="ok",
                calls=[
                    EpisodeCall(span_id=f"{k:016x}", policy="p", agent="solver", trainable=k != 1)
                    for k in range(rollout + 1)
                ],
                rewards=[EpisodeReward(name="success", value=value)],
            )
            episodes.append(one)
            if (group + rollout) % 5 == 0:  # a re-send
                episodes.append(one)
            if (group * rollout) % 7 == 3:  # feedback days later
                better = [EpisodeReward(name="success", value=value + 1)]
                episodes.append(replace(one, version=one.version + 2, rewards=better))
    # Interleave the groups, each in its own order.
    return sorted(episodes, key=lambda e: (e.rollout_id[-1], e.version, e.group_id))


def expected_of(episodes: list[Episode]) -> dict[str, Credits]:
    """What a quiet, single pass through the pure core gives."""
    groups = Groups(load_rule(RULE), CreditMethod(), GroupPatience(grace_ms=GRACE_MS))
    arrivals = [Arrival(partition=0, log_time=1, episode=episode) for episode in episodes]
    groups.needs(arrivals)
    groups.fold(arrivals)
    groups.advance(0, 1 << 60)
    changes = groups.settle()
    return {c.credits.group_id: c.credits for c in changes if c.credits is not None}


def send(writer: Writer, codec: Codec, partitions: int, episodes: list[Episode]) -> None:
    writer.send(
        [
            Outgoing(
                topic=EPISODES,
                partition=partition_of(episode.group_id, partitions),
                value=codec.encode(EPISODES, to_avro(EpisodeBatch(episodes=[episode]))),
            )
            for episode in episodes
        ]
    )


def rows_of(client: ClickHouse) -> pa.Table:
    return client.query_arrow(
        f"SELECT {', '.join(SCHEMA.names)} FROM groups FINAL WHERE project = '{PROJECT}' "
        "ORDER BY group_id"
    )


def final_versions(client: ClickHouse) -> dict[str, int]:
    rows = client.query_arrow(
        f"SELECT group_id, version, state FROM groups FINAL WHERE project = '{PROJECT}'"
    ).to_pylist()
    return {row["group_id"]: row["version"] for row in rows if row["state"] == "final"}


def delivered(
    bootstrap: str, codec: Codec, project: str = PROJECT, group: str = ""
) -> list[Credits]:
    """The Credits of a project, or of one group of it."""
    tailer = Tailer(KafkaConfig(bootstrap=bootstrap), [CREDITS], name="test-credit-reader")
    found: list[Credits] = []
    try:
        while not tailer.caught_up:
            for message in tailer.read(0.5):
                record = readable(codec, CREDITS, message.value)
                batch = from_avro(CreditsBatch, record or {"credits": []})
                found += [
                    credits
                    for credits in batch.credits
                    if credits.project == project and credits.group_id.startswith(group)
                ]
    finally:
        tailer.close()
    return found


def sums(client: ClickHouse) -> dict[str, Any]:
    (row,) = client.query(
        "SELECT uniqExact(group_id) AS groups, count() AS episodes,"
        f" round(sum(advantage), 6) AS total FROM credits WHERE project = '{PROJECT}'"
    )
    (samples,) = client.query(f"SELECT count() AS n FROM samples WHERE project = '{PROJECT}'")
    return row | {"samples": samples["n"]}


def test_every_group_is_credited_once_a_version_whatever_is_killed(
    stack: Stack, codec: Codec, databases: tuple[ClickHouse, ClickHouse], tmp_path: Path
) -> None:
    first, rebuilt = databases
    writer = Writer(KafkaConfig(bootstrap=stack.bootstrap))
    partitions = partitions_of(stack.bootstrap, EPISODES)
    episodes = story(int(time.time() * 1000))
    expected = expected_of(episodes)
    wanted = {group: credits.version for group, credits in expected.items()}
    assert {c.outcome for c in expected.values()} == {"train", "eval"}
    assert {c.baseline for c in expected.values()} == {"grpo", "rloo_std"}

    worker = Worker(stack, first.config.database, tmp_path, "credit-killed")
    again = Worker(stack, rebuilt.config.database, tmp_path, "credit-rebuilding")
    try:
        worker.start()
        quarter = len(episodes) // 4
        for part in range(4):
            worker.wait_until_ready()
            send(writer, codec, partitions, episodes[part * quarter : (part + 1) * quarter])
            if part == 1:
                stack.kill("clickhouse")
            elif part < 3:
                worker.kill()  # in the midst of its work, wherever that is
                worker.start()
        send(writer, codec, partitions, episodes[4 * quarter :])
        wait_until(lambda: final_versions(first) == wanted, "the last version of every group")

        # A replay from offset 0 into empty tables, by a worker that knows nothing.
        worker.kill()
        again.start()
        wait_until(lambda: final_versions(rebuilt) == wanted, "the rebuild to catch up")
        assert rows_of(rebuilt).equals(rows_of(first))
    finally:
        worker.kill()
        again.kill()
        writer.close()

    contents: dict[tuple[str, int], Credits] = {}
    for credits in delivered(stack.bootstrap, codec):
        known = contents.setdefault((credits.group_id, credits.version), credits)
        assert known == credits, "one version of a group has two contents"
    for group, credits in expected.items():
        found = contents[group, credits.version]
        assert found.log_first > 1, "the broker's time"
        assert replace(found, log_first=credits.log_first) == credits
    assert sums(first) == {
        "groups": GROUPS,
        "episodes": sum(len(c.members) for c in expected.values()),
        "total": 0.0,
        "samples": sum(len(c.samples) for c in expected.values()),
    }


def test_a_late_reward_revises_what_was_credited(
    stack: Stack, codec: Codec, databases: tuple[ClickHouse, ClickHouse], tmp_path: Path
) -> None:
    first, _ = databases
    writer = Writer(KafkaConfig(bootstrap=stack.bootstrap))
    partitions = partitions_of(stack.bootstrap, EPISODES)
    group = "late-reward"

    def episode(rollout: int, version: int, *rewards: float) -> Episode:
        return Episode(
            project="credit-late",
            rollout_id=f"{group}-r{rollout}",
            attempt="a0",
            group_id=group,
            group_size=2,
            version=version,
            rewards=[EpisodeReward(name="success", value=value) for value in rewards],
        )

    def state() -> list[dict[str, object]]:
        return first.query(
            "SELECT state, version, outcome, mean FROM groups FINAL WHERE project = 'credit-late'"
        )

    worker = Worker(stack, first.config.database, tmp_path, "credit-late")
    try:
        worker.start()
        send(writer, codec, partitions, [episode(0, 5, 1.0), episode(1, 5)])
        wait_until(lambda: len(state()) == 1, "the open row")
        assert state()[0]["state"] == "open"
        worker.kill()
        worker.start()
        send(writer, codec, partitions, [episode(1, 7, 0.0)])
        wait_until(lambda: state()[0]["state"] == "final", "the credit")
        assert state()[0] == {"state": "final", "version": 12, "outcome": "train", "mean": 0.5}
        send(writer, codec, partitions, [episode(1, 9, 0.0, 1.0)])
        wait_until(lambda: state()[0]["version"] == 14, "the revision")
        assert state()[0]["outcome"] == "zero_advantage"
    finally:
        worker.kill()
        writer.close()


def test_a_group_that_was_open_when_the_method_changed_and_back_keeps_its_members(
    stack: Stack, codec: Codec, databases: tuple[ClickHouse, ClickHouse], tmp_path: Path
) -> None:
    first, _ = databases
    writer = Writer(KafkaConfig(bootstrap=stack.bootstrap))
    partitions = partitions_of(stack.bootstrap, EPISODES)

    def episodes(group: str, *rollouts: int) -> list[Episode]:
        return [
            Episode(
                project="credit-changed",
                rollout_id=f"{group}-r{rollout}",
                attempt="a0",
                group_id=group,
                group_size=3,
                group_rollouts=[f"{group}-r{one}" for one in range(3)],
                deadline=int(time.time() * 1000) + 600_000,
                version=5,
                calls=[EpisodeCall(span_id=f"{rollout:016x}", policy="p", trainable=True)],
                rewards=[EpisodeReward(name="success", value=float(rollout))],
            )
            for rollout in rollouts
        ]

    def members(state: str, credit: str) -> dict[str, int]:
        rows = first.query(
            "SELECT group_id, length(members.rollout_id) AS n FROM groups FINAL"
            f" WHERE project = 'credit-changed' AND state = '{state}' AND credit LIKE '{credit}%'"
        )
        return {str(row["group_id"]): int(str(row["n"])) for row in rows}

    def acknowledged() -> set[Partition]:
        committed = offsets.committed("test.credit-changed", ends)
        return {where for where, end in ends.items() if committed.get(where, 0) >= end}

    offsets = Offsets(KafkaConfig(bootstrap=stack.bootstrap))
    ends: dict[Partition, int] = {}
    worker = Worker(stack, first.config.database, tmp_path, "credit-changed")
    try:
        worker.start()
        send(writer, codec, partitions, [*episodes("whole", 0, 1, 2), *episodes("open", 0, 1)])
        wait_until(lambda: members("final", "uniform") == {"whole": 3}, "the credit of the one")
        wait_until(lambda: members("open", "uniform") == {"open": 2}, "the row of the other")
        ends = offsets.ends((EPISODES, partition_of(one, partitions)) for one in ("whole", "open"))
        wait_until(lambda: acknowledged() >= set(ends), "that both are acknowledged")
        worker.kill()
        worker.more = {"HEADRACE_CREDIT_CALL": "discounted(0.5)"}
        worker.start()
        wait_until(lambda: members("open", "discounted") == {"open": 2}, "what was seen before")
        send(writer, codec, partitions, [*episodes("open", 2), *episodes("back", 0)])
        wait_until(lambda: members("final", "discounted") == {"open": 3}, "the credit of it")
        wait_until(lambda: members("open", "discounted") == {"back": 1}, "the row of the next")
        ends = offsets.ends([(EPISODES, partition_of("back", partitions))])
        wait_until(lambda: acknowledged() >= set(ends), "that it is acknowledged")
        worker.kill()
        worker.more = {}  # as it was at first
        worker.start()
        wait_until(lambda: members("final", "uniform").get("open") == 3, "what others had ended")
        wait_until(lambda: members("open", "uniform") == {"back": 1}, "what was seen meanwhile")
    finally:
        worker.kill()
        writer.close()
    found = delivered(stack.bootstrap, codec, "credit-changed", "open")
    assert {(one.outcome, *one.missing_rollouts) for one in found} == {("train",)}
    assert [one.credit.split("/")[0] for one in found] == ["discounted(0.5)", "uniform"]
