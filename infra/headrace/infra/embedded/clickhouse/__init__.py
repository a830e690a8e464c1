"""The embedded ClickHouse server: the engine (chdb) behind ClickHouse's own HTTP interface.

Start it by exec: `python -m headrace.infra.embedded.clickhouse --path DIR --port 8123`. One
process owns the data folder; clickhouse-connect, JDBC, Grafana and curl work unchanged.
"""

from headrace.infra.embedded.clickhouse.config import ServerConfig
from headrace.infra.embedded.clickhouse.errors import QueryError, StartError

__all__ = ["QueryError", "ServerConfig", "StartError"]
