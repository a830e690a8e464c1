"""A thin client over clickhouse-connect: rows, Arrow in and out, and two kinds of error."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError as DriverError
from clickhouse_connect.driver.exceptions import OperationalError
from clickhouse_connect.driver.httputil import get_pool_manager_options
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError

from headrace.connectors.clickhouse.arrow_types import plain
from headrace.connectors.clickhouse.config import ClickHouseConfig
from headrace.connectors.clickhouse.errors import ClickHouseRejected, ClickHouseUnavailable
from headrace.connectors.loopback import is_loopback_url
from headrace.connectors.tls import tls_fault
from headrace.connectors.worker.insert_times import INSERTS

T = TypeVar("T")

_CODE = re.compile(r"\bCode:\s*(\d+)")
_SAID = re.compile(r"server response: (.*?)(?: \(for url [^)]*\))?$", re.DOTALL)
_GATEWAY_STATUS = re.compile(r"HTTP status 50[234]\b")
# The server's state, not the statement: a file that cannot be written, slots, time, network,
# memory, disk, too many parts, cancelled by a shutdown, overloaded, Keeper.
_TRANSIENT = frozenset({75, 159, 202, 209, 210, 236, 241, 242, 243, 252, 279, 319, 394, 745, 999})
# Unknown user, wrong password, password required, authentication failed. Waiting mends these, too:
# who rotates a password loses nothing.
_NOT_LET_IN_STATUS = re.compile(r"HTTP status 40[13]\b")  # of a proxy before it
_NOT_LET_IN = frozenset({192, 193, 194, 516})
# One Arrow batch is one block is one part, so that a take is stored whole or not at all.
_UNSPLIT = 1 << 40
_ONE_BLOCK = {
    "max_insert_block_size": _UNSPLIT,
    "min_insert_block_size_rows": _UNSPLIT,
    "min_insert_block_size_bytes": _UNSPLIT,
    "async_insert": 0,
}
_DESCRIBED_LIMIT = 256
_SHOWN = 200  # characters of a statement in an error


class ClickHouse:
    """One database of one server.

    Nothing is sent before the first call, so it can be made while the server is away. Safe to share
    between threads: calls hold no state in common (no session) and each takes a connection of a
    pool. Not to be used across a fork.

    Every call raises ClickHouseUnavailable (send the same again) or ClickHouseRejected.
    """

    def __init__(self, config: ClickHouseConfig) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._driver: Client | None = None
        self._described: dict[str, dict[str, str]] = {}
        # A pool of the driver's own making would go through the environment's proxy.
        self._direct: PoolManager | None = None
        if self._is_local():
            ca_cert = config.ssl_ca_location or None
            self._direct = PoolManager(**get_pool_manager_options(ca_cert=ca_cert))

    def __repr__(self) -> str:
        return f"ClickHouse({self.config!r})"

    def query(
        self,
        sql: str,
        parameters: Mapping[str, object] | None = None,
        settings: Mapping[str, int] | None = None,
        query_id: str = "",
    ) -> list[dict[str, object]]:
        """The rows of a query. Parameters are bound by the server: `{name:Type}` in the text.

        With a `query_id`, `cancel` ends it.
        """
        with self._translated(sql):
            result = self._connected().query(
                sql, parameters=_bindable(parameters), settings=_named(settings, query_id)
            )
            return [dict(row) for row in result.named_results()]

    def query_text(
        self,
        sql: str,
        parameters: Mapping[str, object] | None = None,
        settings: Mapping[str, int] | None = None,
        query_id: str = "",
    ) -> bytes:
        """What the server answers to a query that names its FORMAT; otherwise as `query`."""
        with self._translated(sql):
            return self._connected().raw_query(
                sql, parameters=_bindable(parameters), settings=_named(settings, query_id)
            )

    def cancel(self, query_id: str) -> None:
        """Have the server end a query, from another thread or once its answer is not awaited.

        It is found by its comment too: the embedded engine numbers queries itself, and its server
        says there which one is meant.
        """
        self.command(
            "KILL QUERY WHERE query_id = {id:String} OR Settings['log_comment'] = {id:String}"
            " ASYNC",
            {"id": query_id},
        )

    def query_arrow(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """The result as columns, in the plain Arrow types that `insert_arrow` was given.

        String and LowCardinality come as string, Enum as string, DateTime and DateTime64 as
        timestamp in UTC, arrays as list of these; every field is nullable. The server sends
        LowCardinality decoded; one DESCRIBE of the query says which numbers are
        Enum or DateTime; it is remembered by the query's text, so pass values as parameters.
        """
        with self._translated(sql):
            table = self._connected().query_arrow(
                sql,
                parameters=_bindable(parameters),
                settings={
                    "output_format_arrow_low_cardinality_as_dictionary": 0,
                    "output_format_arrow_compression_method": (
                        "none" if self._is_local() else "lz4_frame"
                    ),
                },
            )
        return plain(table, lambda: self._types(sql, parameters))

    def insert_arrow(self, table: str, data: pa.Table | pa.RecordBatch) -> int:
        """Inserts `data` as one block, by column name, and returns the rows that were written.

        One block is one part in each partition it touches, so all of it is stored or none. Returns
        once the server has it; without fsync unless the server is set to.
        """
        if data.num_rows == 0:
            return 0
        whole = pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data
        with _timed(table), self._translated(f"INSERT INTO {table}"):
            summary = self._connected().insert_arrow(
                table, whole.combine_chunks(), settings=dict(_ONE_BLOCK)
            )
            return int(summary.written_rows)

    def command(self, sql: str, parameters: Mapping[str, object] | None = None) -> object:
        """Runs a statement for its effect, or for the single value that it returns."""
        with self._translated(sql):
            return self._connected().command(sql, parameters=_bindable(parameters))

    def ensure_database(self) -> None:
        """Creates the configured database if it is absent."""
        self._outside(f"CREATE DATABASE IF NOT EXISTS {self.config.database}")

    def version(self) -> str:
        """The server's version, asked with the user and password, whether or not the database is
        there."""
        return str(self._outside("SELECT version()"))

    def close(self) -> None:
        """Closes the pool. The next call would open another."""
        with self._lock:
            driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()
        if self._direct is not None:
            self._direct.clear()

    def _outside(self, sql: str) -> object:
        """Runs a statement in no database of ours, on a connection of its own."""
        with self._translated(sql):
            driver = self._connect("default")
            try:
                return driver.command(sql)
            finally:
                driver.close()

    def _connected(self) -> Client:
        with self._lock:
            if self._driver is None:
                self._driver = self._connect(self.config.database)
            return self._driver

    def _connect(self, database: str) -> Client:
        parts = urlsplit(self.config.url)
        secure = parts.scheme == "https"
        return clickhouse_connect.get_client(
            interface=parts.scheme,
            host=parts.hostname,
            port=parts.port or (8443 if secure else 8123),
            proxy_path=parts.path,
            username=self.config.user,
            password=self.config.password,
            ca_cert=self.config.ssl_ca_location or None,
            database=database,
            compress=not self._is_local(),
            connect_timeout=self.config.connect_timeout,
            send_receive_timeout=self.config.timeout,
            query_retries=0,
            settings={"async_insert": 0},
            autogenerate_session_id=False,
            dedicated_pool=self._direct is None,
            pool_mgr=self._direct,
            client_name="headrace",
        )

    def _is_local(self) -> bool:
        return is_loopback_url(self.config.url)

    @contextmanager
    def _translated(self, sql: str) -> Iterator[None]:
        """Turns the driver's and the network's errors into ours."""
        try:
            yield
        except DriverError as error:
            code = getattr(error, "code", None) or _code_in(str(error))
            if code in _NOT_LET_IN or (code is None and _NOT_LET_IN_STATUS.search(str(error))):
                raise ClickHouseUnavailable(self._not_let_in(), code) from error
            if isinstance(error, OperationalError) and code is None:
                raise ClickHouseUnavailable(self._no_answer(error)) from error
            said, statement = _said(error), sql[:_SHOWN]
            if code in _TRANSIENT or _GATEWAY_STATUS.search(str(error)):
                raise ClickHouseUnavailable(said, code, statement=statement) from error
            raise ClickHouseRejected(said, code, statement=statement) from error
        except (HTTPError, OSError) as error:
            raise ClickHouseUnavailable(self._no_answer(error)) from error

    def _not_let_in(self) -> str:
        return (
            f"ClickHouse at {self.config.url} does not let user {self.config.user} in: check "
            "[clickhouse] user and password"
        )

    def _no_answer(self, error: BaseException) -> str:
        fault = tls_fault(error)
        said = fault or _said(error)
        remedy = (
            "check [clickhouse] url and ssl_ca_location"
            if fault
            else "check that it runs (`headrace status` tells of the embedded one)"
        )
        return f"no answer from ClickHouse at {self.config.url}: {said}; {remedy}"

    def _types(self, sql: str, parameters: Mapping[str, object] | None) -> dict[str, str]:
        known = self._described.get(sql)
        if known is None:
            rows = self.query(f"DESCRIBE TABLE ({sql.rstrip().rstrip(';')}\n)", parameters)
            known = {str(row["name"]): str(row["type"]) for row in rows}
            if len(self._described) >= _DESCRIBED_LIMIT:
                self._described.clear()
            self._described[sql] = known
        return known


@contextmanager
def _timed(table: str) -> Iterator[None]:
    began = time.monotonic()
    failed = True
    try:
        yield
        failed = False
    finally:
        INSERTS.add(table, time.monotonic() - began, failed=failed)


def retrying(
    fn: Callable[[], T],
    *,
    on_wait: Callable[[ClickHouseUnavailable], None],
    stop: threading.Event,
    delay: float = 0.25,
) -> T:
    """Calls `fn` in place until ClickHouse is available, and returns its result.

    Args:
        fn: sends the same bytes each time.
        on_wait: gets each failure, before the wait; report that the caller is paused.
        stop: set it to give up.
        delay: seconds between two calls.

    Raises:
        ClickHouseUnavailable: the last failure, once `stop` is set.
        ClickHouseRejected: at once; repeating would not help.
    """
    while True:
        try:
            return fn()
        except ClickHouseUnavailable as error:
            on_wait(error)
            if stop.wait(delay):
                raise


def _said(error: BaseException) -> str:
    """What the server said, or why it could not."""
    found = _SAID.search(str(error))
    return found[1] if found else _root(error)


def _root(error: BaseException) -> str:
    """The system's own words, where it is the network that failed; else the driver's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error)


def _code_in(message: str) -> int | None:
    found = _CODE.search(message)
    return int(found[1]) if found else None


def _named(settings: Mapping[str, int] | None, query_id: str) -> dict[str, int | str]:
    named = {"query_id": query_id} if query_id else {}
    return {**(settings or {}), **named}


def _bindable(parameters: Mapping[str, object] | None) -> dict[str, object] | None:
    return dict(parameters) if parameters else None
