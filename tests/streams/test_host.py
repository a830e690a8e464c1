"""What the host decides without a broker: settings, records and ticks."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.connectors.kafka import KafkaAccess
from headrace.connectors.settings import SERVERS, BadSettings
from headrace.streams.host.config import host_config_from_environment
from headrace.streams.host.faust import log_record
from headrace.streams.host.ticks import QUIET_S, Ticker


def message(**facts: Any) -> Any:
    given = {
        "topic": "t",
        "partition": 2,
        "offset": 7,
        "timestamp": 1_700_000_000_123 / 1000.0,
        "key": None,
        "value": b"x",
        "headers": [],
    }
    return SimpleNamespace(**(given | facts))


@pytest.mark.parametrize("milliseconds", [1_700_000_000_001, 1_700_000_000_123, 1_799_999_999_999])
def test_the_brokers_milliseconds_survive_fausts_seconds(milliseconds: int) -> None:
    assert log_record(message(timestamp=milliseconds / 1000.0)).log_time == milliseconds


@pytest.mark.parametrize("headers", [[("headrace.tick", b"")], {"headrace.tick": b""}])
def test_a_tick_has_its_header_and_neither_key_nor_value(headers: Any) -> None:
    assert log_record(message(headers=headers, value=None)).tick
    assert not log_record(message(headers=None, value=None)).tick
    assert not log_record(message(headers=headers)).tick, "what holds something is read"
    assert not log_record(message(headers=headers, value=b"")).tick
    assert not log_record(message(headers=headers, value=None, key=b"k")).tick


def test_a_quiet_partition_gets_a_tick_when_its_deadline_is_over() -> None:
    deadlines = {0: 10_000, 1: 10_000, 2: None}
    ticker = Ticker(KafkaAccess(bootstrap="127.0.0.1:1"), "t", deadlines.get)
    ticker.assign([0, 1, 2])
    now = time.monotonic()
    for partition, log_time in ((0, 9_500), (1, 1_000), (2, 9_500)):
        ticker.seen(partition, log_time)
    assert ticker.due(now) == [], "none is quiet yet"
    assert ticker.due(now + QUIET_S + 0.1) == [0], "1 is not due, 2 waits for nothing"
    ticker.seen(0, 11_000)
    assert ticker.due(now + QUIET_S) == []


def test_settings_name_the_field() -> None:
    servers = dict.fromkeys(SERVERS, "http://s:1")
    with pytest.raises(BadSettings, match="session_timeout_s"):
        host_config_from_environment("n", environment=servers, session_timeout_s=1)
    late = {**servers, "HEADRACE_STREAMS_SESSION_TIMEOUT_S": "1"}
    with pytest.raises(BadSettings, match="HEADRACE_STREAMS_SESSION_TIMEOUT_S"):
        host_config_from_environment("n", environment=late)
    with pytest.raises(BadSettings, match="HEADRACE_KAFKA_BOOTSTRAP"):
        host_config_from_environment("n", environment={})


def test_a_worker_is_its_stage_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADRACE_KAFKA_BOOTSTRAP", "b:1")
    monkeypatch.setenv("HEADRACE_REGISTRY_URL", "http://r:1")
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_URL", "http://c:1")
    for name in ("HEADRACE_WORKER", "HEADRACE_GROUP", "HEADRACE_RUN_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    config = host_config_from_environment("assemble", take_ms=50)
    assert (config.member_id, config.group_id) == ("assemble-0", "headrace.assemble")
    assert (config.take_ms, config.run_directory) == (50, None)
    monkeypatch.setenv("HEADRACE_WORKER", "assemble-3")
    monkeypatch.setenv("HEADRACE_RUN_DIRECTORY", str(tmp_path))
    config = host_config_from_environment("assemble")
    assert (config.member_id, config.run_directory) == ("assemble-3", tmp_path)
