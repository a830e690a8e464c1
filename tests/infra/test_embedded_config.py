"""Settings and command lines of the embedded parts."""

from __future__ import annotations

import http.server
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.infra.embedded import (
    BrokerConfig,
    ClickHouseServerConfig,
    RegistryConfig,
    artifacts,
    embedded_parts,
    kafka,
    ports,
    registry,
)
from headrace.infra.embedded.clickhouse import part as clickhouse
from headrace.infra.errors import SettingsError


def kafka_config(folder: Path) -> BrokerConfig:
    return BrokerConfig(data_dir=folder, port=21000, controller_port=21001)


def test_every_listener_of_the_broker_is_on_loopback(tmp_path: Path) -> None:
    settings = kafka.properties(kafka_config(tmp_path))
    for listener in settings["listeners"].split(","):
        assert "//127.0.0.1:" in listener
    assert settings["advertised.listeners"] == "PLAINTEXT://127.0.0.1:21000"
    assert settings["controller.quorum.bootstrap.servers"] == "127.0.0.1:21001"


def test_the_broker_stamps_records_and_comes_back_fast_after_a_kill(tmp_path: Path) -> None:
    settings = kafka.properties(kafka_config(tmp_path))
    assert settings["log.message.timestamp.type"] == "LogAppendTime"
    assert settings["message.max.bytes"] == "8388608"
    assert settings["auto.create.topics.enable"] == "false"
    assert settings["broker.session.timeout.ms"] == "2000"


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda d: BrokerConfig(data_dir=d, port=9093), "[kafka] controller_port"),
        (lambda d: BrokerConfig(data_dir=d, heap_mb=8), "heap_mb"),
        (lambda d: BrokerConfig(data_dir=d, port=1), "[kafka] port"),
        (lambda d: RegistryConfig(bootstrap="127.0.0.1:9092", port=0), "[registry] port"),
        (lambda d: ClickHouseServerConfig(data_dir=d, port=99999), "[clickhouse] port"),
    ],
)
def test_a_wrong_setting_is_named(
    make: Callable[[Path], object], field: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=re.escape(field)):
        make(tmp_path)


def test_urls_are_what_unmodified_clients_take(tmp_path: Path) -> None:
    assert kafka_config(tmp_path).bootstrap == "127.0.0.1:21000"
    config = RegistryConfig(bootstrap="127.0.0.1:21000", port=21002)
    assert config.url == "http://127.0.0.1:21002/apis/ccompat/v7"
    assert ClickHouseServerConfig(data_dir=tmp_path, port=21003).url == "http://127.0.0.1:21003"


def test_clickhouse_runs_as_a_process_of_this_python(tmp_path: Path) -> None:
    command = clickhouse.command(ClickHouseServerConfig(data_dir=tmp_path, port=21003))
    module = [sys.executable, "-m", "headrace.infra.embedded.clickhouse"]
    assert command == [*module, "--path", str(tmp_path), "--port", "21003"]


def test_parts_depend_in_the_order_in_which_they_work(tmp_path: Path) -> None:
    parts = embedded_parts(
        kafka_config=kafka_config(tmp_path),
        registry_config=RegistryConfig(bootstrap="127.0.0.1:21000", port=21002),
        clickhouse_config=ClickHouseServerConfig(data_dir=tmp_path, port=21003),
        logs=tmp_path,
    )
    assert {part.name: part.depends for part in parts} == {
        "kafka": (),
        "registry": ("kafka",),
        "clickhouse": (),
    }


def test_nothing_is_ready_where_nothing_listens() -> None:
    port = ports.free_port()
    assert not kafka.is_ready(f"127.0.0.1:{port}")
    assert not registry.is_ready(f"http://127.0.0.1:{port}/apis/ccompat/v7")
    assert not clickhouse.is_ready(f"http://127.0.0.1:{port}")


def test_another_server_on_the_port_is_not_taken_for_clickhouse() -> None:
    class Greeter(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"Ok.\n" if self.path == "/good/ping" else b"hello")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((ports.LOOPBACK, ports.free_port()), Greeter) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert clickhouse.is_ready(f"{url}/good")
        assert not clickhouse.is_ready(url)
        server.shutdown()


def test_announced_download_sizes_are_those_of_the_lock() -> None:
    for part, megabytes in artifacts.DOWNLOAD_MEGABYTES.items():
        total = sum(artifact.size for artifact in artifacts.locked(part))
        assert abs(total / 1e6 - megabytes) < 1
