"""POST /v1/chat/completions."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from headrace.connectors.gateway.bodies import read_json
from headrace.connectors.gateway.calls import Completion, IncomingCall, completed_span, failed_span
from headrace.connectors.gateway.correlation import correlate
from headrace.connectors.gateway.dialects.chat_request import (
    check_messages,
    model_of,
    refuse_streaming,
)
from headrace.connectors.gateway.errors import CallFailed, ClientGone, Overloaded
from headrace.connectors.gateway.state import GatewayState, state_of
from headrace.schemas import new_span_id
from headrace.schemas.vocabulary import Untrainable

T = TypeVar("T")


async def chat_completions(request: Request) -> Response:
    """Answer a chat completion (rule: durable before the answer)."""
    state = state_of(request)
    if state.in_flight >= state.config.max_in_flight:
        raise Overloaded(
            f"{state.in_flight} requests are in flight ([gateway] max_in_flight): try again"
        )
    state.in_flight += 1
    try:
        with state.metrics.in_flight.track_inprogress():
            completion = await _answer(request, state)
    finally:
        state.in_flight -= 1
    return Response(completion.body, completion.status, media_type="application/json")


async def _answer(request: Request, state: GatewayState) -> Completion:
    started_at = time.time_ns()
    correlation = correlate(request)
    body = await read_json(request, state.config.max_body_bytes)
    refuse_streaming(body)
    asked = IncomingCall(
        span_id=new_span_id(),
        correlation=correlation,
        model=model_of(body),
        messages=check_messages(body, state.config.max_messages),
        started_at=started_at,
    )
    work = state.backend(asked.model).complete(asked, body)
    try:
        completion = await _unless_gone(request, work)
    except CallFailed as error:
        state.metrics.failed(Untrainable.CALL_FAILED)
        await state.record(failed_span(asked, error, time.time_ns()))
        raise
    state.metrics.completed(completion)
    await state.record(completed_span(asked, completion, time.time_ns()))
    return completion


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await work and cancel it when the client leaves: nobody would read the answer.

    Raises:
        ClientGone: it left.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone("the client left before its answer")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
