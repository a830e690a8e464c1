"""The ASGI application: `/`, `/ping`, and the life of the engine."""

import logging
from collections.abc import Mapping
from typing import Any

from headrace.infra.embedded.clickhouse import request as requests
from headrace.infra.embedded.clickhouse.body import Body, Receive
from headrace.infra.embedded.clickhouse.config import ServerConfig
from headrace.infra.embedded.clickhouse.engine import Engine
from headrace.infra.embedded.clickhouse.errors import (
    LOGICAL_ERROR,
    Disconnected,
    QueryError,
)
from headrace.infra.embedded.clickhouse.execute import Executor
from headrace.infra.embedded.clickhouse.reply import Reply, Send

logger = logging.getLogger(__name__)


class App:
    """Serves an open engine, and closes it at the lifespan's shutdown.

    uvicorn raises SIGTERM anew once it has served, so no code after it can close the engine.
    """

    def __init__(self, engine: Engine, config: ServerConfig) -> None:
        self._engine = engine
        self._config = config
        self._executor = Executor(engine, config)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            raise ValueError(f"unexpected ASGI scope {scope['type']!r}")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # uvicorn has given running requests their time; what is left must not hold up the end.
        await self._executor.close()
        self._engine.close()
        logger.info("engine closed")
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        reply = Reply(send)
        path = scope["path"]
        if path == "/ping":
            await reply.plain(200, "Ok.\n")
            return
        if path not in ("", "/"):
            await reply.plain(404, f"There is no handle {path[:100]!a}\nUse / for queries.\n")
            return
        if scope["method"] not in ("GET", "POST", "HEAD"):
            await reply.plain(405, "Use GET or POST.\n")
            return
        body = Body(receive, self._config.max_request_bytes)
        try:
            request = requests.read(scope, self._config)
            if not request.query and scope["method"] != "POST":
                await reply.plain(200, "Ok.\n")
                return
            reply.describe(request, request.settings.get("session_timezone", self._engine.timezone))
            await self._executor.run(request, body, reply)
        except Disconnected as error:
            logger.info("query dropped: %s", error)
        except QueryError as error:
            await self._fail(error, body, reply)
        except Exception as error:
            # A bug here must reach the client as an error, not as a cut connection.
            logger.exception("request failed")
            await self._fail(
                QueryError(LOGICAL_ERROR, f"{type(error).__name__}: {error} (LOGICAL_ERROR)"),
                body,
                reply,
            )

    async def _fail(self, error: QueryError, body: Body, reply: Reply) -> None:
        try:
            drained = await body.drain()
            await reply.fail(error, close=not drained)
        except Disconnected:
            logger.info("nobody is left to be told: %s", error)
