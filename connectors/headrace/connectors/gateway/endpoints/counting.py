"""How many tokens a request would read: …/messages/count_tokens and …/responses/input_tokens."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headrace.connectors.gateway.bodies import read_json
from headrace.connectors.gateway.conversation import Ask
from headrace.connectors.gateway.correlation import correlate
from headrace.connectors.gateway.correlation.clients import client_of
from headrace.connectors.gateway.dialects.base import Reading
from headrace.connectors.gateway.dialects.errors import error_response
from headrace.connectors.gateway.dialects.fields import model_of, unsupported
from headrace.connectors.gateway.dialects.messages import dialect as messages
from headrace.connectors.gateway.dialects.messages.write import error as messages_error
from headrace.connectors.gateway.dialects.responses import dialect as responses
from headrace.connectors.gateway.errors import ApiError
from headrace.connectors.gateway.policy.policies import Sampler
from headrace.connectors.gateway.state import GatewayState, state_of


def counting(
    read: Callable[[Mapping[str, Any], Reading], Ask],
    error: Callable[[ApiError], Mapping[str, Any]],
    told: Mapping[str, Any],
) -> Callable[[Request], Awaitable[Response]]:
    """The handler of a count. Nothing is sampled, so there is no span.

    Args:
        read: what a request would ask for.
        error: an error's JSON.
        told: what the answer says beside `input_tokens`.
    """

    async def count(request: Request) -> Response:
        state = state_of(request)
        try:
            with state.place(client_of(request)):
                body, reading, sampler = await _reading(request, state)
                tokens = await asyncio.to_thread(sampler.count, read(body, reading))
                return JSONResponse({**told, "input_tokens": tokens})
        except ApiError as failure:
            return error_response(failure, error(failure))

    return count


async def _reading(
    request: Request, state: GatewayState
) -> tuple[dict[str, Any], Reading, Sampler]:
    correlation = correlate(request)
    body = await state.privacy.read(request, await read_json(request, state.config.max_body_bytes))
    if (route := state.route(model_of(body), correlation.agent)) is None:
        raise unsupported("model", "of an upstream", "tokens of the gateway's policies are counted")
    reading = Reading(
        max_messages=state.config.max_messages,
        default_max_tokens=state.config.default_max_tokens,
        scope=correlation.scope,
        responses=state.responses,
        seen=state.privacy.seen,
    )
    return body, reading, route.served.sampler


count_messages = counting(messages.read_counted, messages_error, {})
count_responses = counting(
    responses.read_counted, ApiError.body, {"object": "response.input_tokens"}
)
