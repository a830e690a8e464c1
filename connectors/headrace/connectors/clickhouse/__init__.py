"""ClickHouse: the client, its errors, and the migrations."""

from typing import TYPE_CHECKING, Any

from headrace.connectors.clickhouse.config import ClickHouseConfig
from headrace.connectors.clickhouse.errors import (
    ClickHouseError,
    ClickHouseRejected,
    ClickHouseUnavailable,
    MigrationError,
)

if TYPE_CHECKING:
    from headrace.connectors.clickhouse.client import ClickHouse, retrying

__all__ = [
    "ClickHouse",
    "ClickHouseConfig",
    "ClickHouseError",
    "ClickHouseRejected",
    "ClickHouseUnavailable",
    "MigrationError",
    "retrying",
]


def __getattr__(name: str) -> Any:
    # The driver is an extra, and settings are read without it: it is imported at its first use.
    if name in ("ClickHouse", "retrying"):
        from headrace.connectors.clickhouse import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
