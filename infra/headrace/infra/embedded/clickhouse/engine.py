"""The chdb engine: one owner of the folder, a fresh connection for each concurrent statement.

A connection costs about 0.3 ms and carries its own settings and database. Statements on one
connection are serial and a second one during an open stream is silently empty, so a connection is
never shared by two requests at a time.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from headrace.infra.embedded.clickhouse.config import ServerConfig, write_files
from headrace.infra.embedded.clickhouse.errors import (
    LOGICAL_ERROR,
    UNKNOWN_DATABASE,
    UNKNOWN_SETTING,
    QueryError,
    StartError,
)
from headrace.infra.embedded.clickhouse.insert_data import InsertData
from headrace.infra.embedded.clickhouse.statement import InsertHead

# What the connection string takes as it is: it is cut at `&` and never URL-decoded.
_PLAIN = re.compile(r"[\w.\-]+", re.ASCII)


@dataclass(kw_only=True, slots=True, frozen=True)
class Progress:
    """What a statement read and wrote, for X-ClickHouse-Summary."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    elapsed_ns: int = 0


class Connection:
    """One engine connection. Calls block and release the GIL; not for two threads at a time."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def query(
        self, sql: bytes, form: str, params: Mapping[str, str] | None = None
    ) -> tuple[bytes, Progress]:
        """Runs any statement and returns its whole output."""
        with engine_errors():
            result = self._raw.query(sql, form, params=dict(params or {}))
            return result.bytes(), _progress(result)

    def stream(self, sql: bytes, form: str, params: Mapping[str, str]) -> Any:
        """Starts a SELECT whose output comes in blocks (`fetch`)."""
        with engine_errors():
            return self._raw.send_query(sql, form, params=dict(params))

    def fetch(self, stream: Any) -> tuple[bytes, Progress | None]:
        """The stream's next block; with None for its progress it was the last."""
        with engine_errors():
            result = self._raw.streaming_fetch_result(stream)
            if result is None:
                return b"", None
            return result.bytes(), _progress(result) if result.rows_read() else None

    def cancel(self, stream: Any) -> None:
        """Ends a stream early; one that already ended is left alone."""
        with suppress(RuntimeError):
            self._raw.streaming_cancel_query(stream)

    def insert(self, head: InsertHead, data: InsertData) -> Progress:
        """A whole INSERT with its data: all of it is stored, or it raises and nothing is."""
        if data.empty:
            with engine_errors():
                return _progress(
                    self._raw.insert_done(self._raw.send_insert(head.sql, head.format))
                )
        source = f"\nFROM INFILE {quote(data.path)} COMPRESSION 'none' ".encode()
        form = f"\nFORMAT {head.format}".encode()
        with engine_errors():
            return _progress(self._raw.query(head.sql + source + head.settings + form, "TSV"))

    def assign(self, settings: Mapping[str, str]) -> None:
        """`SET` of all settings in one statement, `readonly` last."""
        if not settings:
            return
        pairs = sorted(settings.items(), key=lambda pair: pair[0] == "readonly")
        listing = ", ".join(f"{name} = {quote(value)}" for name, value in pairs)
        self.query(f"SET {listing}".encode("utf-8", "surrogateescape"), "TSV")

    def close(self) -> None:
        self._raw.close()


class ChdbEngine:
    """Owns the data folder of `config`; open one per process, by exec, never across a fork.

    Raises:
        StartError: the folder cannot be opened.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._chdb: Any = import_module("chdb._chdb")  # its stubs lack the connection
        self._chdb.set_signal_handlers_enabled(0)
        settings_file = write_files(config)
        try:
            self._keep = self._chdb.connect(f"{config.data}?config-file={settings_file}")
        except RuntimeError as error:
            raise StartError(
                f"The engine cannot open {config.data.absolute()}: {error}. Is another process "
                "using it, or was it written by a newer engine? Stop that process or choose "
                "another --path."
            ) from error
        root = Connection(self._keep)
        root.query(f"CREATE DATABASE IF NOT EXISTS {config.database}".encode(), "TSV")
        names, _ = root.query(b"SELECT name FROM system.settings", "TSV")
        self._settings = frozenset(names.decode().split())
        self.timezone = root.query(b"SELECT timezone()", "TSV")[0].decode().strip()
        self.version = root.query(b"SELECT version()", "TSV")[0].decode().strip()
        self._databases = frozenset[str]()

    def open(self, database: str, settings: Mapping[str, str], *, readonly: bool) -> Connection:
        """A fresh connection.

        Raises:
            QueryError: 115 for an unknown setting (the engine would ignore it), 81 for an unknown
                database (it would too), or what SET says of a value.
        """
        self.check(settings)
        self._check_database(database)
        plain = {
            name: value
            for name, value in settings.items()
            if name != "readonly" and _PLAIN.fullmatch(value)
        }
        address = "&".join(
            [f"database={database}", *(f"{name}={value}" for name, value in plain.items())]
        )
        with engine_errors():
            connection = Connection(self._chdb.connect(f"{self._config.data}?{address}"))
        rest = {name: value for name, value in settings.items() if name not in plain}
        if readonly:
            rest.setdefault("readonly", "2")
        try:
            connection.assign(rest)
        except QueryError:
            connection.close()
            raise
        return connection

    def check(self, settings: Mapping[str, str]) -> None:
        """Raises QueryError 115 for a setting that the engine does not know."""
        for name in settings:
            if name not in self._settings:
                raise QueryError(
                    UNKNOWN_SETTING,
                    f"Setting {name} is neither a builtin setting nor started with the prefix "
                    "'SQL_' registered for user-defined settings. (UNKNOWN_SETTING)",
                )

    def kill(self, comment: str) -> None:
        """Asks the engine to cancel the statements that carry `comment` as log_comment."""
        self._kill(f"Settings['log_comment'] = {quote(comment)}")

    def kill_all(self) -> None:
        """Asks the engine to cancel every statement, so that it can be closed."""
        self._kill("1")

    def close(self) -> None:
        self._keep.close()

    def _kill(self, condition: str) -> None:
        connection = self.open(self._config.database, {}, readonly=False)
        try:
            connection.query(f"KILL QUERY WHERE {condition} ASYNC".encode(), "TSV")
        finally:
            connection.close()

    def _check_database(self, name: str) -> None:
        if name == self._config.database or name in self._databases:
            return
        connection = self.open(self._config.database, {}, readonly=False)
        try:
            listing, _ = connection.query(b"SELECT name FROM system.databases", "TSVRaw")
        finally:
            connection.close()
        # A dropped database stays in the set until the next miss: the engine then names the table.
        self._databases = frozenset(
            entry for entry in listing.decode().splitlines() if _PLAIN.fullmatch(entry)
        )
        if name not in self._databases:
            raise QueryError(
                UNKNOWN_DATABASE, f"Database {name} does not exist. (UNKNOWN_DATABASE)"
            )


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turns the engine's RuntimeError into a QueryError."""
    try:
        yield
    except RuntimeError as error:
        raise QueryError.of_engine(error) from None
    except (TypeError, ValueError) as error:
        # The binding's own complaints, for example about a parameter's type.
        raise QueryError(LOGICAL_ERROR, f"{error} (LOGICAL_ERROR)") from error


def quote(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _progress(result: Any) -> Progress:
    return Progress(
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read(),
        elapsed_ns=int(result.elapsed() * 1e9),
    )
