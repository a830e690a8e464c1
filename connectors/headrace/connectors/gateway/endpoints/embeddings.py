"""POST /v1/embeddings."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headrace.connectors.gateway.bodies import read_json
from headrace.connectors.gateway.correlation import correlate
from headrace.connectors.gateway.correlation.clients import Client, client_of
from headrace.connectors.gateway.dialects.embeddings.read import read
from headrace.connectors.gateway.dialects.embeddings.write import write
from headrace.connectors.gateway.dialects.fields import model_of
from headrace.connectors.gateway.state import GatewayState, state_of
from headrace.connectors.gateway.timing import Deadline


async def embeddings(request: Request) -> Response:
    """Answer with vectors. They are no call of the policy, so they leave no span."""
    state = state_of(request)
    correlate(request)  # refuses ids that cannot be, as everywhere
    client, deadline = client_of(request), Deadline.after(state.config.request_timeout_s)
    with state.place(client):
        body = await deadline.reading(read_json(request, state.config.max_body_bytes))
        seen = await state.privacy.read(request, body)
        return await deadline.answering(_answer(state, client, seen))


async def _answer(state: GatewayState, client: Client, body: Mapping[str, Any]) -> Response:
    backend = state.embeddings
    local = backend.local(model_of(body))
    if local is None:
        told = await backend.forward(body)
        return Response(told.body, told.status, media_type="application/json")
    asked = read(body)
    made = await backend.embed(local, asked.inputs, asked.dimensions)
    state.spent(client, made.tokens)
    return JSONResponse(write(made, model=asked.model, as_base64=asked.base64))
