"""Every kind of client enters a broker that asks for SASL/SCRAM over TLS, and none without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.connectors.clickhouse import ClickHouse, migrate
from headrace.connectors.kafka import KafkaUnavailable, Registry, Tailer, partitions_of, topics
from headrace.connectors.sdk import Telemetry
from headrace.connectors.sdk.config import sdk_config
from headrace.infra.launch.halted import halted_partitions
from headrace.infra.settings import Settings
from headrace.schemas import new_ulid
from tests.support.secured import PASSWORD, secured_stack
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with secured_stack(tmp_path_factory.mktemp("secured")) as made:
        topics.create_topics(made.kafka_access.client("test-topics"))
        registry = Registry(made.registry_access)
        registry.register_all()
        registry.close()
        clickhouse = ClickHouse(made.clickhouse_config)
        migrate.apply(clickhouse)
        clickhouse.close()
        yield made


@contextmanager
def workers(settings: Settings, directory: Path) -> Iterator[Path]:
    """The three stages as processes; where they write."""
    environment = {
        **os.environ,
        **settings.environment(),
        "HEADRACE_RUN_DIRECTORY": str(directory),
    }
    log = directory / "log"
    with log.open("wb") as output:
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "headrace.streams", stage],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            for stage in ("assemble", "credit", "sink")
        ]
        try:
            yield log
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(60)


def test_a_span_becomes_an_episode_and_its_credit(settings: Settings, tmp_path: Path) -> None:
    clickhouse = ClickHouse(settings.clickhouse_config)
    rollout = new_ulid()
    telemetry = Telemetry(
        sdk_config(settings.kafka_access, settings.registry_access, settings.privacy)
    )
    with workers(settings, tmp_path) as log:
        attempt = telemetry.attempt(rollout)
        attempt.start()
        attempt.reward("reward", 1.0)
        attempt.end("done")
        telemetry.close()

        def stored() -> bool:
            rows = clickhouse.query(
                "SELECT count() AS n FROM episodes WHERE rollout_id = {r:String}", {"r": rollout}
            )
            return rows[0]["n"] == 1

        wait_until(stored, lambda: f"the episode; the workers said {log.read_text()[-3000:]}")
        wait_until(
            lambda: all(
                (tmp_path / f"{s}-0.json").exists() for s in ("assemble", "credit", "sink")
            ),
            lambda: f"the workers' heartbeats; they said {log.read_text()[-3000:]}",
        )
    clickhouse.close()
    assert PASSWORD not in log.read_text()


def test_the_readers_of_trainer_gateway_and_status_enter(settings: Settings) -> None:
    kafka = settings.kafka_access.client("test-trainer")
    reader = Tailer(kafka, ["headrace.credits"], name="test-trainer")
    assert len(reader.partitions) == settings.kafka.partitions
    reader.close()
    tailer = Tailer(settings.kafka_access.client("test"), ["headrace.policies"], name="test")
    wait_until(lambda: tailer.read(0.2) is not None and tailer.caught_up, "the policies' end")
    tailer.close()
    assert halted_partitions(settings) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"security_protocol": "PLAINTEXT"},
        {"security_protocol": "SSL"},
        {"sasl_password": "guessed"},
        {"sasl_username": "nobody"},
        {"ssl_ca_location": ""},
    ],
)
def test_who_lacks_what_the_broker_asks_for_stays_out(
    settings: Settings, changes: dict[str, str]
) -> None:
    access = replace(settings.kafka_access, **changes)
    with pytest.raises(KafkaUnavailable) as refused:
        partitions_of(access.client("test-stranger"), "headrace.spans", timeout=3.0)
    assert PASSWORD not in str(refused.value)
    assert PASSWORD not in repr(access)
