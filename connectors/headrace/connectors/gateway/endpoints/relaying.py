"""Requests for an upstream: passed on untouched, and their telemetry kept."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, suppress
from time import monotonic
from typing import Any

from starlette.responses import Response

from headrace.connectors.engines.upstream import UpstreamReply, UpstreamUnavailable
from headrace.connectors.gateway.backends.forwarded import read_answer, read_stream
from headrace.connectors.gateway.backends.heard import Heard
from headrace.connectors.gateway.calls import AnsweredCall, IncomingCall, completed_span
from headrace.connectors.gateway.conversation import lenient
from headrace.connectors.gateway.correlation.anonymous import Anonymous
from headrace.connectors.gateway.dialects.base import Dialect
from headrace.connectors.gateway.errors import (
    ApiError,
    BackendFailed,
    CallFailed,
    CallNotDurable,
    CallTimedOut,
    ClientGone,
)
from headrace.connectors.gateway.event_stream import EventStream
from headrace.connectors.gateway.state import GatewayState
from headrace.connectors.gateway.timing import Deadline
from headrace.schemas.vocabulary import SpanStatus


async def relay(
    state: GatewayState,
    asked: IncomingCall,
    dialect: Dialect,
    body: Mapping[str, Any],
    deadline: Deadline,
    anonymous: Anonymous | None,
) -> Response:
    """What the upstream answers, an error of its own included; a stream as it comes.

    Raises:
        CallFailed: the upstream did not answer.
        CallNotDurable: the call could not be recorded.
    """
    try:
        reply = await deadline.answering(state.forwarder.open(dialect.path, body))
        if reply.is_stream and reply.status < 400:
            return _Relayed(state, asked, dialect, body, reply, deadline, anonymous).response
        try:
            answer = await deadline.answering(reply.whole())
        except UpstreamUnavailable as error:
            raise BackendFailed(str(error), code="upstream_broke_off") from error
    except (BackendFailed, CallTimedOut) as error:
        state.metrics.upstream_fault(error.code or "")
        raise
    call = read_answer(asked, body, answer)
    await _record(state, asked, call)
    if anonymous is not None and call.status == SpanStatus.OK:
        _remember(anonymous, state, json.loads(answer.body))
    return Response(answer.body, answer.status, media_type=answer.media_type)


class _Relayed:
    """One stream of the upstream on its way to a client."""

    def __init__(
        self,
        state: GatewayState,
        asked: IncomingCall,
        dialect: Dialect,
        body: Mapping[str, Any],
        reply: UpstreamReply,
        deadline: Deadline,
        anonymous: Anonymous | None,
    ) -> None:
        self._deadline, self._anonymous = deadline, anonymous
        self._state, self._asked, self._dialect = state, asked, dialect
        self._body, self._reply = body, reply
        wanted = body.get("n")
        self._heard = Heard(choices=wanted if type(wanted) is int and wanted > 0 else 1)
        self._recording: asyncio.Future[None] | None = None
        self.response = EventStream(self._pieces(), self._abandon)

    async def _pieces(self) -> AsyncIterator[bytes]:
        broken: CallFailed | None = None
        async with (
            aclosing(self._reply.pieces()) as unbounded,
            aclosing(self._deadline.pieces(unbounded)) as pieces,
        ):
            try:
                async for piece in pieces:
                    if told := self._heard.feed(piece):
                        yield told
                    if self._heard.is_over:
                        break
            except UpstreamUnavailable as error:
                broken = BackendFailed(str(error), code="upstream_broke_off")
            except CallTimedOut as error:
                broken = error
        self._heard.end()
        failed = self._fault(broken)
        fault: ApiError | None = failed
        try:
            await self._end(failed)
            if self._anonymous is not None and self._heard.is_finished:
                _remember(self._anonymous, self._state, self._heard.answer())
        except CallNotDurable as error:
            fault, self._heard.held = error, b""
        if self._heard.held:
            yield self._heard.held
        if fault is not None:
            self.response.failed = True
            yield self._dialect.broke_off(fault).encode()

    def _fault(self, broken: CallFailed | None) -> CallFailed | None:
        """Why the answer is not whole, where the upstream did not say it itself."""
        if self._heard.is_finished or self._heard.error is not None:
            return None
        if broken is not None:
            return broken
        return BackendFailed(
            "the upstream ended its stream before the answer was whole; see its log",
            code="upstream_broke_off",
        )

    async def _abandon(self) -> None:
        """The client left: what was received until then is kept."""
        await self._reply.close()
        with suppress(CallNotDurable):  # counted and logged; there is nobody to tell it to
            if self._recording is not None:
                await self._recording
            else:
                await self._end(ClientGone("the client left while it was answered"))

    async def _end(self, fault: CallFailed | None) -> None:
        """Record the call, once: also where the client leaves meanwhile."""
        call = read_stream(self._asked, self._body, self._heard, fault)
        self._recording = asyncio.ensure_future(_record(self._state, self._asked, call))
        await asyncio.shield(self._recording)


def _remember(anonymous: Anonymous, state: GatewayState, told: Mapping[str, Any]) -> None:
    """That a later request may go on with an answer."""
    try:
        said = lenient.answered(state.privacy.seen(told))
    except RecursionError:  # nested too deep to be compared with what is repeated
        return
    if said is not None:
        response_id = told.get("id")
        names = [response_id] if isinstance(response_id, str) else []
        names += [call.id for call in said.tool_calls if call.id]
        anonymous.answered([(said, names)], monotonic())


async def _record(state: GatewayState, asked: IncomingCall, call: AnsweredCall) -> None:
    state.metrics.completed(call)
    if call.status == SpanStatus.ERROR:
        state.metrics.upstream_fault(str(call.attributes["error.type"]))
    state.spent(asked.correlation.client, call.prompt_tokens + call.completion_tokens)
    await state.record([completed_span(asked, call, time.time_ns())])
