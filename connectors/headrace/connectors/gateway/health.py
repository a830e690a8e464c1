"""GET /healthz and /metrics."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headrace.connectors.gateway.metrics import CONTENT_TYPE
from headrace.connectors.gateway.state import state_of


async def healthz(request: Request) -> Response:
    """200 when calls are answered, else 503; either way with what is waited for."""
    state = state_of(request)
    serving = state.serving
    if serving is None:
        return JSONResponse({"status": "ok"})
    waiting_for = serving.waiting_for
    is_ready = serving.served is not None or state.config.serve_base
    answer = {
        "status": "ok" if is_ready else "waiting",
        "waiting_for": waiting_for,
        "policy": serving.policy,
        "version": serving.served,
    }
    return JSONResponse(answer, status_code=200 if is_ready else 503)


async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(state_of(request).metrics.text(), media_type=CONTENT_TYPE)
