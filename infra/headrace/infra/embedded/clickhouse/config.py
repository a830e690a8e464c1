"""Configuration of the embedded server and the files that the engine reads at its start."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from headrace.connectors.loopback import is_loopback

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# `default` may do what the tables need and nothing with the owner's files or network: the tables
# file(), url(), s3() and BACKUP are denied by these grants. The front refuses INTO OUTFILE and the
# function file(), of which there is no right; so no setting may hold an expression.
_USERS = """<clickhouse>
  <profiles>
    <default>
      <constraints>
        <additional_result_filter><const/></additional_result_filter>
        <additional_table_filters><const/></additional_table_filters>
      </constraints>
    </default>
  </profiles>
  <users>
    <default>
      <password></password>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT SELECT,INSERT,CREATE,DROP,ALTER,TRUNCATE,OPTIMIZE,CHECK ON *.*</query>
        <query>GRANT SYSTEM,KILL QUERY ON *.*</query>
        <query>GRANT TABLE ENGINE ON *</query>
      </grants>
    </default>
  </users>
  <quotas><default/></quotas>
</clickhouse>
"""

_CONFIG = """<clickhouse>
  <users_config>{users}</users_config>
  <query_log>
    <database>system</database>
    <table>query_log</table>
    <ttl>event_date + INTERVAL 3 DAY DELETE</ttl>
  </query_log>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <backups><allowed_path>{backups}</allowed_path></backups>
</clickhouse>
"""


@dataclass(kw_only=True, slots=True, frozen=True)
class ServerConfig:
    """Where the server listens and what it may use."""

    path: Path
    """Folder of the data; one process owns it."""
    host: str = "127.0.0.1"
    port: int = 8123
    database: str = "headrace"
    """Created at start. `default` is the engine's overlay over the owner's files: not usable."""
    user: str = "default"
    password: str = field(default="", repr=False)
    memory_bytes: int = 2_000_000_000
    """The engine's max_server_memory_usage."""
    max_request_bytes: int = 2 << 30
    """Largest request body, decompressed; the data of an INSERT is kept on disk beyond 64 MiB."""
    max_statement_bytes: int = 64 << 20
    """Largest text held in memory: a statement in the body, or a multipart form."""
    threads: int = 16
    """Statements that run at the same time; further ones wait."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.database) or self.database in ("default", "system"):
            raise ValueError(
                f"database={self.database!r}: use letters, digits and underscores, "
                "and neither 'default' nor 'system'"
            )
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port={self.port}: use a port from 1 to 65535")
        if any(sign in str(self.path) for sign in "?&"):
            raise ValueError(f"path={str(self.path)!r}: the engine cannot open a path with ? or &")
        if not self.password and not is_loopback(self.host):
            raise ValueError(
                f"host={self.host!r} is reachable from other machines: give a password "
                "(--password-file FILE) or listen on 127.0.0.1"
            )
        for name in ("memory_bytes", "max_request_bytes", "max_statement_bytes", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: use a number above 0")

    @property
    def data(self) -> Path:
        """The engine's own folder."""
        return self.path / "data"


def write_files(config: ServerConfig) -> Path:
    """Writes config.xml and users.xml and returns the path of config.xml."""
    home = config.path.absolute()
    (home / "backups").mkdir(parents=True, exist_ok=True)
    users = config.path / "users.xml"
    users.write_text(_USERS)
    main = config.path / "config.xml"
    main.write_text(
        _CONFIG.format(
            # Relative to config.xml: the engine would read a backslash as a slash.
            users=users.name,
            memory=config.memory_bytes,
            backups=escape(f"{home / 'backups'}/"),
        ),
        encoding="utf-8",
    )
    return main
