"""The receiver as an ASGI application."""

import logging

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headrace.connectors.otlp.access import Access
from headrace.connectors.otlp.answers import JSON, PROTOBUF, TYPES, accepted, failed
from headrace.connectors.otlp.bodies import CODINGS
from headrace.connectors.otlp.config import OtlpSettings
from headrace.connectors.otlp.errors import BadRequest, OtlpError, TooLarge, Unsupported
from headrace.connectors.otlp.intake import Intake

logger = logging.getLogger(__name__)


def create_app(settings: OtlpSettings, intake: Intake) -> Starlette:
    """The application; who makes it also closes what `intake` sends to."""
    receiver = _Receiver(settings, intake)
    app = Starlette(
        routes=[
            Route("/v1/traces", receiver.traces, methods=["POST"]),
            Route("/v1/metrics", receiver.passed_over, methods=["POST"]),
            Route("/v1/logs", receiver.passed_over, methods=["POST"]),
            Route("/healthz", receiver.healthz),
        ]
    )
    # A redirect drops the body of a POST.
    app.router.redirect_slashes = False
    return app


class _Receiver:
    def __init__(self, settings: OtlpSettings, intake: Intake) -> None:
        self._settings = settings
        self._intake = intake
        self._access = Access(settings.keys)

    async def traces(self, request: Request) -> Response:
        """POST /v1/traces: 200 when the spans are durable."""
        try:
            with self._intake.admitted():
                content_type, body = await self._read(request)
                coding = request.headers.get("content-encoding", "")
                refused = await self._intake.take(body, coding, content_type)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody hears it
        except OtlpError as error:
            return self._failed(error, _type_of(request))
        except Exception:
            logger.exception("a request could not be taken: it is answered 500")
            return self._failed(_Bug("this receiver failed; its log says why"), _type_of(request))
        return Response(accepted(refused, content_type), media_type=content_type)

    async def passed_over(self, request: Request) -> Response:
        """POST /v1/metrics and /v1/logs: 200, and nothing is kept, so that exporters go on."""
        try:
            with self._intake.admitted():
                content_type, _ = await self._read(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except OtlpError as error:
            return self._failed(error, _type_of(request))
        self._intake.counters[f"passed_over_{request.url.path.rpartition('/')[2]}"] += 1
        return Response(accepted({}, content_type), media_type=content_type)

    async def healthz(self, _: Request) -> Response:
        """GET /healthz: what was taken."""
        return JSONResponse({"status": "ok", "counters": dict(self._intake.counters)})

    async def _read(self, request: Request) -> tuple[str, bytes]:
        """Content type and body, as it was sent."""
        self._access.check(request)
        content_type = _type_of(request)
        if content_type not in TYPES:
            raise Unsupported(f"Content-Type {content_type[:80]!r}: send {PROTOBUF} or {JSON}")
        most = self._settings.max_body_bytes
        declared = request.headers.get("content-length", "0")
        chunks: list[bytes] = []
        size = int(declared) if declared.isdecimal() and len(declared) < 20 else 0
        if size > most:
            raise _too_large(most)
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise _too_large(most)
            chunks.append(chunk)
        return content_type, b"".join(chunks)

    def _failed(self, error: OtlpError, content_type: str) -> Response:
        self._intake.counters[f"answered_{error.status}"] += 1
        known = content_type if content_type in TYPES else PROTOBUF
        headers = {}
        if error.retry:
            headers["Retry-After"] = str(self._settings.retry_s)
        if isinstance(error, Unsupported):
            headers["Accept-Encoding"] = ", ".join(CODINGS[:2])
        return Response(
            failed(error.code, str(error), known),
            status_code=error.status,
            media_type=known,
            headers=headers,
        )


class _Bug(BadRequest):
    status, code = 500, 13


def _type_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body is larger than {most} bytes: raise [otlp] max_body_bytes")
