"""The handler of every API (rule: durable before the answer)."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from headrace.connectors.gateway.bodies import read_json
from headrace.connectors.gateway.calls import (
    Completion,
    IncomingCall,
    completed_span,
    failed_span,
    to_json,
)
from headrace.connectors.gateway.conversation import (
    AnswerEvent,
    ChoiceEnded,
    Message,
    TextGrew,
    joined,
    lenient,
    template_messages,
)
from headrace.connectors.gateway.correlation import Correlation, correlate
from headrace.connectors.gateway.correlation.anonymous import Anonymous, ids_named, spans_named
from headrace.connectors.gateway.correlation.clients import client_of
from headrace.connectors.gateway.dialects.base import (
    AnswerWriter,
    Asking,
    Dialect,
    Head,
    Reading,
)
from headrace.connectors.gateway.dialects.errors import error_response
from headrace.connectors.gateway.dialects.fields import model_of
from headrace.connectors.gateway.dialects.sse import Sse
from headrace.connectors.gateway.endpoints.relaying import relay
from headrace.connectors.gateway.errors import ApiError, CallFailed, ClientGone
from headrace.connectors.gateway.event_stream import EventStream, disconnected
from headrace.connectors.gateway.policy.policies import Sampler
from headrace.connectors.gateway.privacy import CallPrivacy
from headrace.connectors.gateway.request_ids import given_id
from headrace.connectors.gateway.retries import retries_of, retry_key
from headrace.connectors.gateway.state import GatewayState, state_of
from headrace.connectors.gateway.timing import Deadline
from headrace.schemas import new_span_id
from headrace.schemas.vocabulary import Untrainable

T = TypeVar("T")
_CONTENTS = ("messages", "input", "prompt")
"""Where the requests of the APIs have what they say."""


def endpoint(dialect: Dialect) -> Callable[[Request], Awaitable[Response]]:
    """The handler of an API's POST."""

    async def answer(request: Request) -> Response:
        state = state_of(request)
        try:
            with ExitStack() as held:
                held.enter_context(state.place(client_of(request)))
                response = await _answer(request, state, dialect)
                if isinstance(response, EventStream):
                    response.held.enter_context(held.pop_all())
                return response
        except ApiError as error:
            return error_response(error, dialect.error(error))

    return answer


async def _answer(request: Request, state: GatewayState, dialect: Dialect) -> Response:
    started_at = time.time_ns()
    deadline = Deadline.after(state.config.request_timeout_s)
    correlation = correlate(request)
    given = await deadline.reading(read_json(request, state.config.max_body_bytes))
    body = await state.privacy.read(request, given)
    key = retry_key(request, body)
    return await state.retries.once(
        key, lambda: _call(request, state, dialect, body, correlation, started_at, deadline)
    )


async def _call(
    request: Request,
    state: GatewayState,
    dialect: Dialect,
    body: Mapping[str, Any],
    correlation: Correlation,
    started_at: int,
    deadline: Deadline,
) -> Response:
    model, span_id = model_of(body), new_span_id()
    route = state.route(model, correlation.agent)

    def incoming(where: Correlation, content: Any, attributes: Mapping[str, Any]) -> IncomingCall:
        return IncomingCall(
            span_id=span_id,
            response_id=dialect.id_prefix + span_id,
            correlation=where,
            model=model,
            version=None if route is None else route.version_for(where.rollout_id),
            selected=route is None or route.selected,
            content=content,
            started_at=started_at,
            operation=dialect.operation,
            attributes={**_told(request), **attributes},
            hidden=state.privacy.hidden(request),
        )

    if route is None:
        content = next((body[name] for name in _CONTENTS if name in body), None)
        said = lenient.said(body) if correlation.is_anonymous else ()
        anonymous = state.anonymous(correlation, said, ids_named(said, lenient.previous(body)))
        correlation, noted = _placed(state, correlation, anonymous)
        asked = incoming(correlation, content, noted)
        return await _unless_gone(
            request, asked, state, relay(state, asked, dialect, body, deadline, anonymous)
        )
    asking = dialect.read(
        body,
        Reading(
            max_messages=state.config.max_messages,
            default_max_tokens=state.config.default_max_tokens,
            scope=correlation.scope,
            responses=state.responses,
            seen=state.privacy.seen,
        ),
    )
    messages = asking.asks[0].messages
    named = spans_named(messages, asking.previous)
    anonymous = state.anonymous(correlation, messages, named)
    correlation, noted = _placed(state, correlation, anonymous)
    asked = incoming(correlation, _content(asking, state.privacy), _noted(asking) | noted)
    call = _SampledCall(request, state, route.served.sampler, asked, asking, anonymous, deadline)
    return await (call.stream() if asking.streams else call.whole())


def _placed(
    state: GatewayState, correlation: Correlation, anonymous: Anonymous | None
) -> tuple[Correlation, dict[str, Any]]:
    """Where a call belongs, and what its span says of that."""
    if anonymous is None:
        return correlation, {}
    placed, how = anonymous.place(monotonic())
    state.metrics.conversation(how)
    return placed, {"headrace.conversation": how}


class _SampledCall:
    """One request that our own engine answers."""

    def __init__(
        self,
        request: Request,
        state: GatewayState,
        sampler: Sampler,
        asked: IncomingCall,
        asking: Asking,
        anonymous: Anonymous | None,
        deadline: Deadline,
    ) -> None:
        self._deadline = deadline
        self._anonymous = anonymous
        self._request, self._state, self._asked, self._asking = request, state, asked, asking
        self._sampler = sampler
        head = Head(id=asked.response_id, model=asked.model, created=asked.started_at // 10**9)
        self._writer: AnswerWriter = asking.writer(head)
        self._events: asyncio.Queue[AnswerEvent | None] = asyncio.Queue()
        self._said: list[str] = []
        """What the client was sent of the first choice, for the span of a call that fails."""
        self._recording: asyncio.Future[None] | None = None

    async def whole(self) -> Response:
        """The answer in one piece."""
        completion = await _unless_gone(self._request, self._asked, self._state, self._sample(None))
        await self._record(completion)
        body = to_json(self._writer.whole(completion.answer)).encode()
        return Response(body, media_type="application/json")

    async def stream(self) -> Response:
        """The answer while it grows. What goes wrong before its first event is an error as any."""
        work = asyncio.ensure_future(self._sample(self._events.put_nowait))
        work.add_done_callback(lambda _done: self._events.put_nowait(None))
        try:
            first = await _unless_gone(self._request, self._asked, self._state, self._events.get())
            if first is None and work.exception() is not None:
                work.result()
        except BaseException as error:
            await _cancelled(work)
            if isinstance(error, CallFailed) and not isinstance(error, ClientGone):
                await self._failed(error)
            raise
        self._stream = EventStream(self._pieces(work, first), lambda: self._abandon(work))
        return self._stream

    def _sample(
        self, on_event: Callable[[AnswerEvent], None] | None
    ) -> Coroutine[Any, Any, Completion]:
        return self._deadline.answering(
            self._sampler.answer(self._asked, self._asking.asks, on_event)
        )

    async def _pieces(
        self, work: "asyncio.Future[Completion]", first: AnswerEvent | None
    ) -> AsyncIterator[bytes]:
        ended: list[AnswerEvent] = []
        grown: list[AnswerEvent] = []
        told, event = self._writer.start(), first
        while event is not None:
            # That a choice is complete may be sent once its span is durable.
            (ended if isinstance(event, ChoiceEnded) else grown).append(event)
            if self._events.empty():  # what waits already goes out as one
                told += self._grew(grown)
                if told:
                    yield _encoded(told)
                told, grown = [], []
            event = await self._events.get()
        if told := [*told, *self._grew(grown)]:
            yield _encoded(told)
        try:
            completion = await work
            await self._once(self._record(completion))
        except ApiError as error:
            if isinstance(error, CallFailed):
                await self._once(self._failed(error))
            self._stream.failed = True
            yield _encoded(self._writer.fail(error))
            return
        last = [one for event in ended for one in self._writer.grew(event)]
        yield _encoded([*last, *self._writer.end(completion.answer)])

    def _grew(self, events: list[AnswerEvent]) -> list[Sse]:
        told: list[Sse] = []
        for event in joined(events):
            if isinstance(event, TextGrew) and event.choice == 0:
                self._said.append(event.text)
            told += self._writer.grew(event)
        return told

    async def _once(self, recording: Coroutine[Any, Any, None]) -> None:
        """Record the call; a client that leaves meanwhile does not make it recorded twice."""
        self._recording = asyncio.ensure_future(recording)
        await asyncio.shield(self._recording)

    async def _abandon(self, work: "asyncio.Future[Completion]") -> None:
        await _cancelled(work)
        with suppress(ApiError):  # counted and logged; there is nobody to tell it to
            if self._recording is not None:
                await self._recording
            else:
                await self._failed(ClientGone("the client left while it was answered"))

    async def _record(self, completion: Completion) -> None:
        ended_at = time.time_ns()
        for call in completion.calls:
            self._state.metrics.completed(call)
        spans = [completed_span(self._asked, call, ended_at) for call in completion.calls]
        usage = completion.answer.usage
        self._state.spent(self._asked.correlation.client, usage.prompt + usage.completion)
        await self._state.record(spans)
        if self._anonymous is not None:
            names = ([call.span_id] for call in completion.calls)
            choices = map(self._state.privacy.repeated, completion.answer.choices)
            said = (
                Message(role="assistant", content=choice.text, tool_calls=choice.tool_calls)
                for choice in choices
            )
            self._anonymous.answered(zip(said, names, strict=True), monotonic())

    async def _failed(self, error: CallFailed) -> None:
        await record_failure(self._state, self._asked, error, "".join(self._said))


async def record_failure(
    state: GatewayState, asked: IncomingCall, error: CallFailed, said: str = ""
) -> None:
    """Count a call that was not answered, and record it; raises CallNotDurable."""
    state.metrics.failed(Untrainable.CALL_FAILED, error.code or "")
    await state.record([failed_span(asked, error, time.time_ns(), output=said)])


async def _unless_gone(
    request: Request, asked: IncomingCall, state: GatewayState, work: Coroutine[Any, Any, T]
) -> T:
    """Await work and cancel it when the client leaves: nobody would read the answer.

    Raises:
        CallFailed: the call failed, or the client left (ClientGone); its span is recorded.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(disconnected(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone("the client left before its answer")
        return working.result()
    except CallFailed as error:
        await record_failure(state, asked, error)
        raise
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _cancelled(work: "asyncio.Future[Any]") -> None:
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


def _told(request: Request) -> dict[str, Any]:
    """What the client says of its request, for the span."""
    given = given_id(request.headers)
    return {**retries_of(request), **({"headrace.request_id": given} if given else {})}


def _content(asking: Asking, privacy: CallPrivacy) -> Any:
    contents: list[Any] = []
    for ask in asking.asks:
        if isinstance(ask.prompt, tuple) and privacy.reads_tokens:
            contents.append(f"{len(ask.prompt)} tokens")  # that may spell anything
        else:
            contents.append(template_messages(ask.messages) if ask.prompt is None else ask.prompt)
    return contents[0] if len(contents) == 1 else contents


def _noted(asking: Asking) -> dict[str, Any]:
    noted = asking.asks[0].noted
    return {"headrace.unknown_fields": list(noted)} if noted else {}


def _encoded(events: list[Sse]) -> bytes:
    return b"".join(event.encode() for event in events)
