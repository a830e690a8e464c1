"""POST /v1/embeddings."""

from starlette.requests import Request
from starlette.responses import Response

from headrace.connectors.gateway.bodies import read_json
from headrace.connectors.gateway.correlation import correlate
from headrace.connectors.gateway.errors import Overloaded
from headrace.connectors.gateway.state import state_of


async def embeddings(request: Request) -> Response:
    """Answer with vectors. They are no call of the policy, so they leave no span."""
    state = state_of(request)
    correlate(request)  # refuses ids that cannot be, as everywhere
    if state.in_flight >= state.config.max_in_flight:
        raise Overloaded(
            f"{state.in_flight} requests are in flight ([gateway] max_in_flight): try again"
        )
    state.in_flight += 1
    try:
        with state.metrics.in_flight.track_inprogress():
            body = await read_json(request, state.config.max_body_bytes)
            answer = await state.embeddings.answer(body)
    finally:
        state.in_flight -= 1
    return Response(answer.body, answer.status, media_type="application/json")
