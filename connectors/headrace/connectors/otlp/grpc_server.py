"""OTLP over gRPC, beside HTTP and with the same intake. Needs grpcio (the extra `otlp-grpc`)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from headrace.connectors.otlp.access import Access
from headrace.connectors.otlp.answers import PROTOBUF, accepted
from headrace.connectors.otlp.config import OtlpSettings
from headrace.connectors.otlp.errors import ConfigurationError, OtlpError
from headrace.connectors.otlp.intake import Intake

_PACKAGE = "opentelemetry.proto.collector"
_TRACES = f"{_PACKAGE}.trace.v1.TraceService"
_PASSED_OVER = {
    f"{_PACKAGE}.metrics.v1.MetricsService": "metrics",
    f"{_PACKAGE}.logs.v1.LogsService": "logs",
}
_UNAVAILABLE = 14

Handler = Callable[[bytes, Any], Awaitable[bytes]]


@asynccontextmanager
async def serving(settings: OtlpSettings, intake: Intake) -> AsyncIterator[None]:
    """Serve until the block ends; requests in flight are answered first.

    Raises ConfigurationError: grpcio is not installed, or the port is taken.
    """
    try:
        from grpc import aio
    except ImportError as error:
        raise ConfigurationError(
            "[otlp] grpc is set and grpcio is not installed: pip install 'headrace[otlp-grpc]'"
        ) from error
    server = aio.server(
        handlers=handlers(settings, intake),
        options=[
            ("grpc.max_receive_message_length", settings.max_body_bytes),
            ("grpc.so_reuseport", 0),
        ],
    )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        server.add_insecure_port(f"{host}:{settings.grpc_port}")
    except RuntimeError as error:
        raise ConfigurationError(
            f"the OTLP receiver cannot listen on {host}:{settings.grpc_port}: change [otlp] "
            "grpc_port (HEADRACE_OTLP_GRPC_PORT) or host"
        ) from error
    await server.start()
    try:
        yield
    finally:
        await server.stop(settings.durable_s)


def handlers(settings: OtlpSettings, intake: Intake) -> list[Any]:
    """The three services; messages stay bytes, which the intake reads."""
    import grpc

    access = Access(settings.keys)

    async def traces(body: bytes, context: Any) -> bytes:
        return accepted(await intake.take(body, "", PROTOBUF), PROTOBUF)

    def passing(name: str) -> Handler:
        async def passed_over(_body: bytes, _context: Any) -> bytes:
            intake.counters[f"passed_over_{name}"] += 1
            return b""

        return passed_over

    services = {_TRACES: traces, **{one: passing(name) for one, name in _PASSED_OVER.items()}}
    return [
        grpc.method_handlers_generic_handler(
            service,
            {"Export": grpc.unary_unary_rpc_method_handler(_answering(handler, access, intake))},
        )
        for service, handler in services.items()
    ]


def _answering(handler: Handler, access: Access, intake: Intake) -> Handler:
    """A handler whose errors are answered as gRPC's statuses."""
    import grpc

    codes = {code.value[0]: code for code in grpc.StatusCode}

    async def answer(body: bytes, context: Any) -> bytes:
        try:
            access.check_key(_headers(context))
            with intake.admitted():
                return await handler(body, context)
        except OtlpError as error:
            intake.counters[f"answered_{error.status}"] += 1
            # Exporters repeat RESOURCE_EXHAUSTED only where a server says when (OTLP/gRPC).
            code = _UNAVAILABLE if error.retry else error.code
            await context.abort(codes[code], str(error))
            raise

    return answer


def _headers(context: Any) -> dict[str, str]:
    pairs = context.invocation_metadata() or ()
    return {key: value for key, value in pairs if isinstance(value, str)}
