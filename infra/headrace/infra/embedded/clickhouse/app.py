"""The ASGI application: `/`, `/ping`, `/replicas_status`, and the life of the engine."""

import logging
from collections.abc import Mapping
from typing import Any

from headrace.connectors.loopback import refusal
from headrace.infra.embedded.clickhouse import request as requests
from headrace.infra.embedded.clickhouse.body import Body, Receive
from headrace.infra.embedded.clickhouse.config import ServerConfig
from headrace.infra.embedded.clickhouse.engine import ChdbEngine
from headrace.infra.embedded.clickhouse.errors import (
    ACCESS_DENIED,
    LOGICAL_ERROR,
    CutShort,
    Disconnected,
    QueryError,
)
from headrace.infra.embedded.clickhouse.execute import Executor
from headrace.infra.embedded.clickhouse.reply import Reply, Send
from headrace.infra.embedded.lifespan import live

logger = logging.getLogger(__name__)


class App:
    """Serves an open engine, and closes it at the lifespan's shutdown.

    uvicorn raises SIGTERM again once it has served, so no code after it can close the engine.
    """

    def __init__(self, engine: ChdbEngine, config: ServerConfig) -> None:
        self._engine = engine
        self._config = config
        self._executor = Executor(engine, config)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send, self._close)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            raise ValueError(f"unexpected ASGI scope {scope['type']!r}")

    async def _close(self) -> None:
        # uvicorn has given running requests their time; what is left must not hold up the end.
        await self._executor.close()
        self._engine.close()
        logger.info("engine closed")

    async def _serve(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        reply = Reply(send, self._engine.version)
        path, method = scope["path"], scope["method"]
        # Without a password, a web page open in a browser here must not reach the tables.
        elsewhere = None if self._config.password else refusal(method, scope["headers"])
        if elsewhere is not None:
            await self._fail(_not_from_here(elsewhere), Body(receive, 0), reply)
        elif path in ("/ping", "/replicas_status"):
            await reply.plain(200, "Ok.\n")
        elif path not in ("", "/"):
            await reply.plain(404, f"There is no handle {path[:100]!a}\nUse / for queries.\n")
        elif method not in ("GET", "POST", "HEAD"):
            await reply.plain(405, "Use GET or POST.\n")
        else:
            await self._query(scope, receive, reply)

    async def _query(self, scope: Mapping[str, Any], receive: Receive, reply: Reply) -> None:
        body = Body(receive, self._config.max_request_bytes)
        try:
            request = requests.read(scope, self._config)
            if not request.query and scope["method"] != "POST":
                await reply.plain(200, "Ok.\n")
                return
            reply.describe(request, request.settings.get("session_timezone", self._engine.timezone))
            await self._executor.run(request, body, reply)
            await reply.release()
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
        finally:
            reply.close()

    async def _fail(self, error: QueryError, body: Body, reply: Reply) -> None:
        try:
            drained = await body.drain()
            await reply.fail(error, close=not drained)
        except CutShort:
            logger.info("answer cut short, and its connection with it: %s", error)
        except Disconnected:
            logger.info("the client is gone: %s", error)


def _not_from_here(reason: str) -> QueryError:
    return QueryError(
        ACCESS_DENIED,
        f"Without a password this machine alone is answered, and {reason}; start the server with "
        "--password-file. (ACCESS_DENIED)",
    )
