"""Runs one statement: INSERT with data, SELECT in a stream, anything else in one piece."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from headrace.infra.embedded.clickhouse import codings, formats, multipart
from headrace.infra.embedded.clickhouse.body import Body
from headrace.infra.embedded.clickhouse.config import ServerConfig
from headrace.infra.embedded.clickhouse.engine import ChdbEngine, Connection, Progress, quote
from headrace.infra.embedded.clickhouse.errors import (
    BAD_ARGUMENTS,
    READONLY,
    STREAMING_NOT_SUPPORTED,
    Disconnected,
    QueryError,
)
from headrace.infra.embedded.clickhouse.insert_data import InsertData
from headrace.infra.embedded.clickhouse.native import NativeDecoder
from headrace.infra.embedded.clickhouse.reply import Reply
from headrace.infra.embedded.clickhouse.request import Request
from headrace.infra.embedded.clickhouse.sessions import HttpSession, Sessions
from headrace.infra.embedded.clickhouse.statement import (
    InsertHead,
    Statement,
    find_insert,
    inspect,
    inspect_values,
)

T = TypeVar("T")

_HEAD_BYTES = 256 << 10
_BLOCK_BYTES = 1 << 20
_COMMENT = re.compile(r"[\w.\-]{1,128}", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Executor:
    """Runs the statements of all requests; belongs to one event loop."""

    def __init__(self, engine: ChdbEngine, config: ServerConfig) -> None:
        self._engine = engine
        self._config = config
        self._sessions = Sessions()
        self._running: set[asyncio.Task[Any]] = set()
        self._pool = ThreadPoolExecutor(config.threads, thread_name_prefix="statement")
        # Apart, so that a kill never waits behind the statements it should end.
        self._killers = ThreadPoolExecutor(1, thread_name_prefix="kill")

    async def close(self) -> None:
        """Cancels running statements, waits for their requests, closes the sessions."""
        self._engine.kill_all()
        if self._running:
            await asyncio.wait(self._running)
        self._pool.shutdown()
        self._killers.shutdown()
        self._sessions.close()

    async def run(self, request: Request, body: Body, reply: Reply) -> None:
        """Reads the statement from URL and body, runs it and answers.

        Raises:
            QueryError: the statement failed before its answer began.
            Disconnected: the client has gone.
        """
        task = asyncio.current_task()
        assert task is not None, "an ASGI server runs each request in a task"
        self._running.add(task)
        try:
            await self._run(request, body, reply)
        finally:
            self._running.discard(task)

    async def _run(self, request: Request, body: Body, reply: Reply) -> None:
        self._decode(request, body)
        externals: list[multipart.FormPart] = []
        if request.is_form:
            request, externals = await self._read_form(request, body)
        insert = None if externals else await self._find_insert(request, body)
        if insert is not None:
            async with self._lease(request, None) as connection:
                await self._insert(connection, request, insert, body, reply)
            return
        text = await self._text(request, body)
        statement = inspect(text)
        async with self._lease(request, statement) as connection:
            for part in externals:
                await self._call(self._add_external, connection, request, part)
            await self._answer(connection, request, statement, body, reply)

    def _decode(self, request: Request, body: Body) -> None:
        if request.flag("decompress"):
            body.decode_with(NativeDecoder())
        else:
            body.decode_with(codings.decoder(request.headers.get("content-encoding", "")))

    async def _read_form(
        self, request: Request, body: Body
    ) -> tuple[Request, list[multipart.FormPart]]:
        data = await body.whole(self._config.max_statement_bytes)
        parts = multipart.parts(data, request.headers["content-type"])
        fields = {
            part.name: part.data.decode("utf-8", "surrogateescape")
            for part in parts
            if not part.is_file
        }
        return request.with_fields(fields), [part for part in parts if part.is_file]

    async def _find_insert(self, request: Request, body: Body) -> InsertHead | None:
        """Splits an INSERT from its data, which stays in `body`."""
        lead = own = request.query + b"\n" if request.query else b""
        if (head := find_insert(lead)) is None:
            if lead and request.method == "GET":
                return None
            first = await body.read(_HEAD_BYTES)
            head = find_insert(lead + first)
            if head is None:
                body.unread(first)
                return None
            lead += first
        data = lead[head.data_at :]
        if lead == own and not data.strip():
            data = b""  # blanks at the end of ?query= are no data
        body.unread(data)
        return head

    async def _text(self, request: Request, body: Body) -> bytes:
        rest = b"" if request.is_form else await body.whole(self._config.max_statement_bytes)
        return request.query + (b"\n" + rest if request.query and rest else rest)

    async def _insert(
        self, connection: Connection, request: Request, insert: InsertHead, body: Body, reply: Reply
    ) -> None:
        if request.method == "GET":
            raise QueryError(
                READONLY,
                "Cannot execute query in readonly mode. For queries over HTTP, method GET implies "
                "readonly. You should use method POST for modifying queries. (READONLY)",
            )
        if request.binds:
            binds = {f"param_{name}": value for name, value in request.binds.items()}
            await self._call(connection.assign, binds)
        if insert.format.upper() == "VALUES":
            values = await body.whole(self._config.max_statement_bytes)
            await asyncio.to_thread(inspect_values, values)
            body.unread(values)
        with InsertData(self._config.path) as data:
            while block := await body.read(_BLOCK_BYTES):
                data.add(block)
            # Half of a batch must never be committed: the engine begins when all of it is here.
            progress = await self._call(connection.insert, insert, data)
        await reply.whole(b"", None, progress)

    async def _answer(
        self,
        connection: Connection,
        request: Request,
        statement: Statement,
        body: Body,
        reply: Reply,
    ) -> None:
        form = statement.format or request.default_format
        joiner = None
        if statement.streams and not statement.totals and not _shapes_output(request.settings):
            joiner = formats.blocks(form)
        gone = asyncio.create_task(body.disconnect())
        try:
            if joiner is None:
                data, progress = await self._until(
                    gone, request, connection.query, statement.text, form, request.binds
                )
                silent = not data and not statement.reads
                await reply.whole(data, None if silent else form, progress)
            else:
                await self._stream(connection, request, statement, form, joiner, gone, reply)
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone

    async def _stream(
        self,
        connection: Connection,
        request: Request,
        statement: Statement,
        form: str,
        joiner: formats.Blocks,
        gone: "asyncio.Task[None]",
        reply: Reply,
    ) -> None:
        run = partial(self._until, gone, request)
        try:
            stream = await run(connection.stream, statement.text, form, request.binds)
        except QueryError as error:
            if STREAMING_NOT_SUPPORTED not in str(error):
                raise
            data, progress = await run(connection.query, statement.text, form, request.binds)
            await reply.whole(data, form, progress)
            return
        ended = False
        try:
            data, latest = b"", Progress()
            fetched, more = 0, True
            fetch = partial(self._until, gone, request, connection.fetch, stream)
            while more and (fetched < 2 or len(data) < request.buffer_bytes):
                block, read = await fetch()
                data += joiner.join(block)
                fetched, more, latest = fetched + 1, read is not None, read or latest
            if not more:
                ended = True
                await reply.whole(data + joiner.end(), form, latest)
                return
            write = reply.hold if request.is_whole else reply.chunk
            if not request.is_whole:
                await reply.start(form)
            await write(data)
            while more:
                block, read = await fetch()
                await write(joiner.join(block))
                more, latest = read is not None, read or latest
            ended = True
            await write(joiner.end())
            if request.is_whole:
                reply.end_held(form, latest)
            else:
                reply.end()
        finally:
            if not ended:
                connection.cancel(stream)

    def _add_external(
        self, connection: Connection, request: Request, part: multipart.FormPart
    ) -> None:
        structure = request.values.get(f"{part.name}_structure")
        types = request.values.get(f"{part.name}_types")
        if not _IDENTIFIER.fullmatch(part.name) or not (structure or types):
            raise QueryError(
                BAD_ARGUMENTS,
                f"External table {part.name!r} needs a plain name and the parameter "
                f"{part.name}_structure or {part.name}_types. (BAD_ARGUMENTS)",
            )
        if not structure:
            listing = (types or "").split(",")
            structure = ", ".join(f"_{at} {kind}" for at, kind in enumerate(listing, 1))
        create = f"CREATE TEMPORARY TABLE {part.name} ({structure}) ENGINE = Memory"
        inspect(create.encode())
        connection.query(create.encode(), "TSV")
        form = request.values.get(f"{part.name}_format") or "TabSeparated"
        if form.upper() == "VALUES":
            inspect_values(part.data)
        head = InsertHead(sql=f"INSERT INTO {part.name}".encode(), format=form, data_at=0)
        with InsertData(self._config.path) as data:
            data.add(part.data)
            connection.insert(head, data)

    @asynccontextmanager
    async def _lease(
        self, request: Request, statement: Statement | None
    ) -> AsyncIterator[Connection]:
        """The connection for a statement: its session's if that has state, else a fresh one."""
        with self._sessions.held(request) as session:
            stateful = statement is not None and statement.stateful
            if session is not None and (session.connection is not None or stateful):
                lease = self._of_session(session, request, statement)
            else:
                lease = self._fresh(request)
            async with lease as connection:
                yield connection

    @asynccontextmanager
    async def _fresh(self, request: Request) -> AsyncIterator[Connection]:
        settings = request.settings
        if _COMMENT.fullmatch(request.query_id):
            settings.setdefault("log_comment", request.query_id)
        readonly = request.method == "GET"
        connection = await self._call(
            partial(self._engine.open, request.database, settings, readonly=readonly)
        )
        try:
            yield connection
        finally:
            connection.close()

    @asynccontextmanager
    async def _of_session(
        self, session: HttpSession, request: Request, statement: Statement | None
    ) -> AsyncIterator[Connection]:
        if request.method == "GET" and not (statement and (statement.reads or statement.stateful)):
            raise QueryError(READONLY, "Method GET implies readonly: use POST. (READONLY)")
        if session.connection is None:
            opener = partial(self._engine.open, request.database, {}, readonly=False)
            session.connection = await self._call(opener)
        connection = session.connection
        self._engine.check(request.settings)
        restore = await self._call(_exchange, connection, request)
        try:
            yield connection
        finally:
            if restore:
                await self._call(connection.query, restore, "TSV")

    async def _until(
        self, gone: "asyncio.Task[None]", request: Request, work: Callable[..., T], *args: Any
    ) -> T:
        """Runs `work` in a thread; once the client has gone, kills it and raises Disconnected."""
        job = asyncio.ensure_future(self._call(work, *args))
        try:
            await asyncio.wait({job, gone}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # The server stops: the client learns what became of its statement, if it can be.
            await asyncio.wait({job})
            job.result()
            raise
        if job.done():
            return job.result()
        if _COMMENT.fullmatch(request.query_id) and "log_comment" not in request.settings:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._killers, self._engine.kill, request.query_id)
        with suppress(QueryError):
            await job
        raise Disconnected("the client left while its statement ran")

    async def _call(self, work: Callable[..., T], *args: Any) -> T:
        """Runs blocking engine work in a thread; a cancelled request still waits for its end."""
        job = asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            # The connection must not be closed under the thread.
            await asyncio.wait({job})
            job.exception()
            raise


def _shapes_output(settings: Mapping[str, str]) -> bool:
    """Whether a setting adds something to the output that is not a run of rows."""
    return "extremes" in settings or "output_format_json_array_of_rows" in settings


def _exchange(connection: Connection, request: Request) -> bytes:
    """Applies a request's settings and database to a session; returns the SQL that undoes it."""
    if "database" in request.values or "x-clickhouse-database" in request.headers:
        connection.query(f"USE `{request.database.replace('`', '')}`".encode(), "TSV")
    settings = request.settings
    if not settings:
        return b""
    names = ", ".join(quote(name) for name in settings)
    listing, _ = connection.query(
        f"SELECT name, value, changed FROM system.settings WHERE name IN ({names})".encode(), "TSV"
    )
    undo = []
    for line in listing.decode("utf-8", "surrogateescape").splitlines():
        name, value, changed = line.split("\t")
        # TSV escapes backslash and quote as a SQL literal does.
        undo.append(f"{name} = '{value}'" if changed == "1" else f"{name} = DEFAULT")
    connection.assign(settings)
    return f"SET {', '.join(undo)}".encode("utf-8", "surrogateescape")
