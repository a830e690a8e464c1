"""ClickHouse: the client, its errors, and the migrations. The embedded server is in `server`."""

from headrace.connectors.clickhouse.client import ClickHouse, ClickHouseConfig, retrying
from headrace.connectors.clickhouse.errors import (
    ClickHouseError,
    ClickHouseRejected,
    ClickHouseUnavailable,
    MigrationError,
)

__all__ = [
    "ClickHouse",
    "ClickHouseConfig",
    "ClickHouseError",
    "ClickHouseRejected",
    "ClickHouseUnavailable",
    "MigrationError",
    "retrying",
]
