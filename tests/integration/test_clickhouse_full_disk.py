"""ClickHouse's disk is full for a while: learning goes on, and nothing is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.faults.parts import Running, running_parts
from benchmarks.faults.run import judged
from benchmarks.faults.small_disk import small_disks_are_possible

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import Offsets
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.infra.launch.parts import heartbeat_file
from headrace.schemas.topics import Topic
from tests.support.waiting import wait_until

PARTITIONS = 2
PATIENCE_S = 240.0

pytestmark = [
    pytest.mark.skipif(not small_disks_are_possible(), reason="this machine lends no namespaces"),
    pytest.mark.timeout(900),
]


def credits_written(running: Running) -> int:
    offsets = Offsets(running.settings.kafka_access.client("test-full-disk"))
    return sum(offsets.ends((Topic.CREDITS, number) for number in range(PARTITIONS)).values())


def spans_stored(running: Running) -> int:
    client = ClickHouse(running.settings.clickhouse_config)
    try:
        (row,) = client.query_arrow("SELECT count() AS n FROM spans FINAL").to_pylist()
        return int(row["n"])
    finally:
        client.close()


def waits_for(running: Running, stage: str) -> str:
    return str(read_heartbeat(heartbeat_file(running.settings, stage)).get("waiting", ""))


def test_a_full_disk_holds_rows_back_and_loses_none(tmp_path: Path) -> None:
    with running_parts(
        tmp_path, partitions=PARTITIONS, producers=2, seed=3, pause_s=0.1,
        on_event=lambda *_: None,
    ) as running:  # fmt: skip
        assert running.disk is not None
        wait_until(lambda: spans_stored(running) > 50, f"spans being stored ({tmp_path})")
        running.disk.fill()
        wait_until(
            lambda: "space" in waits_for(running, "assemble"), f"a refusal ({tmp_path})", PATIENCE_S
        )
        before = credits_written(running)
        wait_until(
            lambda: credits_written(running) > before + PARTITIONS,
            f"credits without tables ({tmp_path})",
        )
        stored = spans_stored(running)
        running.disk.free()
        wait_until(lambda: spans_stored(running) > stored, f"rows again ({tmp_path})", PATIENCE_S)
        report = judged(running, PATIENCE_S)
    assert report["clean"], report
    assert report["ledgers"]["lost"] == report["ledgers"]["doubled"] == 0
