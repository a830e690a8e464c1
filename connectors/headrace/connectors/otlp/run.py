"""The receiver as a process: its parts started, served and closed in order."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import uvicorn

from headrace.connectors.http_server import listening
from headrace.connectors.http_server.listening import Server
from headrace.connectors.metrics import Reporter
from headrace.connectors.otlp.app import create_app
from headrace.connectors.otlp.config import OtlpConfig
from headrace.connectors.otlp.errors import ConfigurationError
from headrace.connectors.otlp.grpc_server import serving
from headrace.connectors.otlp.intake import Intake
from headrace.connectors.privacy import Privacy
from headrace.connectors.privacy.logs import redact_logs
from headrace.connectors.sdk import Telemetry, sdk_config

_BEAT_S = 1.0


async def serve(config: OtlpConfig) -> None:
    """Run a receiver until SIGTERM or SIGINT; requests in flight are answered first.

    Raises ConfigurationError: a port is taken, or what gRPC needs is not installed.
    """
    with listen(config) as listener:
        telemetry = Telemetry(
            sdk_config(
                config.kafka,
                config.registry,
                config.privacy,
                spool_directory=config.spool_directory,
                project=config.project,
                memory_bytes=config.memory_bytes,
            )
        )
        redact_logs(Privacy(config.privacy))
        intake = Intake(config, telemetry)
        try:
            async with AsyncExitStack() as stack:
                if config.grpc:
                    await stack.enter_async_context(serving(config, intake))
                await stack.enter_async_context(_beating(config, intake, telemetry))
                await _server(config, intake).serve(sockets=[listener])
        finally:
            await asyncio.to_thread(telemetry.close)


def listen(config: OtlpConfig) -> socket.socket:
    """A bound socket. Raises ConfigurationError, which names the setting."""
    try:
        return listening.listen(config.host, config.port)
    except OSError as error:
        raise ConfigurationError(
            f"the OTLP receiver cannot listen on {config.host}:{config.port}: {error.strerror}; "
            "change [otlp] port (HEADRACE_OTLP_PORT) or host"
        ) from error


def _server(config: OtlpConfig, intake: Intake) -> Server:
    return Server(
        uvicorn.Config(
            create_app(config, intake),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(config.durable_s) + 1,
        )
    )


@asynccontextmanager
async def _beating(config: OtlpConfig, intake: Intake, telemetry: Telemetry) -> AsyncIterator[None]:
    """Say once a second what was taken, for `headrace status`."""
    beating = asyncio.create_task(_beat(config, intake, telemetry))
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


async def _beat(config: OtlpConfig, intake: Intake, telemetry: Telemetry) -> None:
    if config.heartbeat is None:
        return
    reporter = Reporter(config.heartbeat, part="otlp")
    reporter.serve()
    try:
        while True:
            stats = telemetry.stats()
            counters = dict(intake.counters) | {"waiting": stats.pending, "spooled": stats.spooled}
            report = {
                "ready": True,
                "counters": {k: v for k, v in counters.items() if v},
                "held_bytes": stats.held_bytes,
            }
            await asyncio.to_thread(reporter.tell, report)
            await asyncio.sleep(_BEAT_S)
    finally:
        reporter.close()
