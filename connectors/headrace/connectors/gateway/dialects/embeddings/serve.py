"""POST /v1/embeddings."""

from starlette.requests import Request
from starlette.responses import Response

from headrace.connectors.gateway.bodies import read_json
from headrace.connectors.gateway.correlation import correlate
from headrace.connectors.gateway.state import state_of


async def embeddings(request: Request) -> Response:
    """Answer with vectors. They are no call of the policy, so they leave no span."""
    state = state_of(request)
    correlate(request)  # refuses ids that cannot be, as everywhere
    with state.place():
        body = await read_json(request, state.config.max_body_bytes)
        answer = await state.embeddings.answer(body)
    return Response(answer.body, answer.status, media_type="application/json")
