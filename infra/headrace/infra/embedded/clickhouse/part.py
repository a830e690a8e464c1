"""The ClickHouse engine behind its HTTP interface, as a process of its own on loopback."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from headrace.infra.embedded import ports, probe


@dataclass(kw_only=True, slots=True, frozen=True)
class ClickHouseServerConfig:
    """Configuration of the embedded ClickHouse server."""

    data_dir: Path
    """Where the tables live; one process owns it."""
    port: int = 8123
    """Port of the HTTP interface."""

    def __post_init__(self) -> None:
        ports.check_port(self.port, "[clickhouse] port")

    @property
    def url(self) -> str:
        """The URL for ClickHouse's HTTP clients."""
        return f"http://{ports.LOOPBACK}:{self.port}"


def prepare(config: ClickHouseServerConfig) -> None:
    """Make the data directory and check the port.

    Raises:
        PortInUse: its port is taken.
    """
    config.data_dir.mkdir(parents=True, exist_ok=True)
    ports.ensure_free(config.port, "ClickHouse", "[clickhouse] port")


def command(config: ClickHouseServerConfig) -> list[str]:
    """Return the command line that runs the server."""
    module = [sys.executable, "-m", "headrace.infra.embedded.clickhouse"]
    return [*module, "--path", str(config.data_dir.absolute()), "--port", str(config.port)]


def is_ready(url: str) -> bool:
    """Say whether a ClickHouse server answers its ping."""
    return (probe.get(f"{url}/ping") or b"").strip() == b"Ok."
