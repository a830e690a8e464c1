"""The embedded ClickHouse server: the engine (chdb) behind ClickHouse's own HTTP interface.

Start it by exec: `python -m headrace.connectors.clickhouse.server --path DIR --port 8123`. One
process owns the data folder; clickhouse-connect, JDBC, Grafana and curl work unchanged.
"""

from headrace.connectors.clickhouse.server.config import ServerConfig
from headrace.connectors.clickhouse.server.errors import QueryError, StartError

__all__ = ["QueryError", "ServerConfig", "StartError"]
