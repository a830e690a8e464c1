"""GET /healthz and /metrics."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headrace.connectors.gateway.metrics import CONTENT_TYPE
from headrace.connectors.gateway.state import state_of


async def healthz(request: Request) -> Response:
    """200 when every policy's calls are answered, else 503; with what is waited for."""
    state = state_of(request)
    if not state.policies:
        return JSONResponse({"status": "ok"})
    default = next(iter(state.policies))
    is_ready = all(one.is_ready for one in state.policies)
    answer = {
        "status": "ok" if is_ready else "waiting",
        "waiting_for": "; ".join(filter(None, (one.waiting_for for one in state.policies))),
        "policy": default.policy,
        "version": default.served,
        "policies": {one.name: {"version": one.served} for one in state.policies},
    }
    return JSONResponse(answer, status_code=200 if is_ready else 503)


async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(state_of(request).metrics.text(), media_type=CONTENT_TYPE)
