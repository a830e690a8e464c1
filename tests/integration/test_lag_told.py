"""How far a worker is behind, on the real broker: before it starts, while it is, and after."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka import KafkaConfig, Outgoing, Writer
from headrace.connectors.kafka.lag import Lags
from headrace.connectors.kafka.letters import depths
from headrace.connectors.sdk import Attempt, SdkConfig, Telemetry
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.schemas import new_ulid
from tests.support.environment import environment_of
from tests.support.stages import start_stage
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

SPANS, GROUP, MEMBER = "headrace.spans", "metered.assemble", "metered-assemble"
WEEK_S = 7 * 24 * 3600.0


@pytest.fixture
def worker(stack: Stack, tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Ended with the test; the test starts it."""
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database="metered"))
    migrate.apply(client)
    client.close()
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def start(stack: Stack, directory: Path) -> subprocess.Popen[bytes]:
    return start_stage(
        "assemble",
        environment_of(
            stack,
            HEADRACE_CLICKHOUSE_DATABASE="metered",
            HEADRACE_WORKER=MEMBER,
            HEADRACE_GROUP=GROUP,
            HEADRACE_RUN_DIRECTORY=directory,
            HEADRACE_DATA_DIRECTORY=directory / "data",
        ),
        directory / "assemble.log",
    )


def scrape(directory: Path) -> dict[str, list[tuple[dict[str, str], float]]]:
    address = str(read_heartbeat(directory / f"{MEMBER}.json")["metrics"])
    with urllib.request.urlopen(address, timeout=30) as answer:
        text = bytes(answer.read()).decode()
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, float(sample.value)))
    return found


def test_a_worker_tells_how_far_it_is_behind_and_how_long_clickhouse_took(
    stack: Stack, worker: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    before_ms = time.time() * 1000
    telemetry = Telemetry(SdkConfig(bootstrap=stack.bootstrap, registry_url=stack.registry_url))
    one = Attempt(telemetry, new_ulid(), "a", project="metered")
    one.start()
    one.event("still going on")
    telemetry.close()
    lags = Lags(KafkaConfig(bootstrap=stack.bootstrap), GROUP, [SPANS])
    unread = lags.ask()
    assert sum(lag.records for lag in unread.values()) >= 1
    assert max(lag.seconds for lag in unread.values()) > 0
    assert {lag.retention_s for lag in unread.values()} == {WEEK_S}
    assert time.time() * 1000 >= before_ms

    worker.append(start(stack, tmp_path))
    wait_until(lambda: not sum(lag.records for lag in lags.ask().values()), f"no lag ({tmp_path})")
    assert {lag.seconds for lag in lags.ask().values()} == {0.0}

    def told_nothing_left() -> bool:
        told = scrape(tmp_path)
        return not sum(value for _, value in told.get("headrace_lag_records", [({}, 1.0)]))

    wait_until(told_nothing_left, "the metrics telling of no lag")
    told = scrape(tmp_path)
    assert told["headrace_ready"] == [({"part": "assemble"}, 1.0)]
    (kept,) = told["headrace_retention_seconds"]
    assert kept == ({"part": "assemble", "topic": SPANS}, WEEK_S)
    inserts = {labels["table"]: value for labels, value in told["headrace_insert_seconds_count"]}
    assert inserts["spans"] >= 1
    assert told["headrace_open_episodes"][0][1] >= 1, "one was begun and never ended"


def test_dead_letters_are_counted_by_topic(stack: Stack) -> None:
    kafka = KafkaConfig(bootstrap=stack.bootstrap)
    topic = "headrace.halts.dlq"
    before = depths(kafka).get(topic, 0)
    writer = Writer(kafka)
    writer.send([Outgoing(topic=topic, value=b"letter", partition=0)], 30)
    writer.close()
    assert depths(kafka)[topic] == before + 1
