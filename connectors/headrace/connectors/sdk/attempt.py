"""One attempt at a task: its start, what happens in it, its rewards and its end.

An agent needs none of this: the runner starts and ends its attempt and the gateway sees its
calls. Tools that want to be seen ask `current_attempt()`.

No value of an agent makes any of it raise: what JSON or a batch cannot hold is replaced by what can
be said of it, and the span is marked (`headrace.replaced` among its attributes).
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from dataclasses import replace
from typing import Any

from headrace.connectors.described import (
    REPLACED,
    as_attributes,
    as_json,
    as_name,
    as_text,
    error_facts,
    marked,
    type_name,
)
from headrace.connectors.instrument.names import attempt_path
from headrace.connectors.rewards import reward_fields
from headrace.connectors.sdk.emitter import Durability, Emitter
from headrace.schemas import STATUSES, Span, Start, episode_id, new_span_id, new_ulid
from headrace.schemas.vocabulary import SpanKind, SpanStatus

logger = logging.getLogger(__name__)

_current: ContextVar["Attempt | None"] = ContextVar("headrace_attempt", default=None)


def current_attempt() -> "Attempt | None":
    """The attempt that this code runs in, if a runner or `with attempt:` set one."""
    return _current.get()


class ToolResult:
    """What a tool gave back; set `output` inside the `with` block."""

    output: Any = None


class Attempt:
    """Emits the spans of one attempt at a rollout.

    `with attempt:` makes it the `current_attempt()` of the code inside.

    Example:
        attempt = telemetry.attempt("01JR…")
        attempt.start()
        with attempt, attempt.tool("search", {"query": "otters"}) as result:
            result.output = search("otters")
        attempt.reward("correct", 1.0)
        attempt.end("otters")
    """

    def __init__(
        self,
        telemetry: Emitter,
        rollout_id: str,
        attempt: str | None = None,
        *,
        project: str | None = None,
        subject: str | None = None,
        agent: str = "",
        task_input: Any = "",
        facts: Start | None = None,
        attributes: Mapping[str, Any] | None = None,
        root: str | None = None,
        end_id: str | None = None,
        started_at: int | None = None,
    ) -> None:
        self.rollout_id = rollout_id
        self.attempt = attempt or new_ulid()
        self.project = project or telemetry.config.project
        self.subject = None if subject is None else as_name(subject)
        self.agent = as_name(agent)
        self.emitted = 0
        """Spans emitted through this object."""
        self._telemetry = telemetry
        self._task_input = task_input
        self._attributes = "" if attributes is None else as_attributes(attributes)
        self._facts = facts or Start(group_id=rollout_id)
        self._started_at = started_at or time.time_ns()
        self.root = root or new_span_id()
        """Span id of `attempt.start`, the parent of all others."""
        self.end_id = end_id or new_span_id()
        """Span id of `attempt.end`."""
        self._tokens: list[Token[Attempt | None]] = []

    @property
    def episode_id(self) -> str:
        """`{rollout_id}/{attempt}`."""
        return episode_id(self.rollout_id, self.attempt)

    def base_url(self, gateway: str) -> str:
        """The OpenAI base URL at which the gateway counts calls to this attempt."""
        path = attempt_path(self.project, self.rollout_id, self.attempt)
        return f"{gateway.rstrip('/')}{path}/v1"

    def start(self, timeout: float = 30.0) -> Durability:
        """Emit `attempt.start` and wait until it is durable. Raises NotDurable."""
        return self._telemetry.emit_durably(self._start_span(), timeout)

    async def astart(self, within: float = 30.0) -> Durability:
        """`start` for asyncio."""
        return await self._telemetry.aemit_durably(self._start_span(), within)

    def end(
        self,
        result: Any = None,
        *,
        status: str = SpanStatus.OK,
        attributes: Mapping[str, Any] | None = None,
        timeout: float = 30.0,
    ) -> Durability:
        """Emit `attempt.end` with the result as JSON and wait until it is durable.

        A status that is none of `ok`, `error` and `unset` counts as `error`. After NotDurable call
        it again with the same result: it is the same span.
        """
        span = self._end_span(result, status, attributes)
        return self._telemetry.emit_durably(span, timeout)

    async def aend(
        self, result: Any = None, *, status: str = SpanStatus.OK, within: float = 30.0
    ) -> Durability:
        """`end` for asyncio."""
        return await self._telemetry.aemit_durably(self._end_span(result, status), within)

    @contextmanager
    def tool(self, name: str, arguments: Any = None) -> Iterator[ToolResult]:
        """Record a tool's execution; an exception makes its status `error` and goes on."""
        started_at = time.time_ns()
        result = ToolResult()
        try:
            yield result
        except BaseException as raised:
            error = raised
            self._emit(lambda: self._failed_tool(name, arguments, error, started_at))
            raise
        self._emit(
            lambda: self._tool_span(name, arguments, result.output, SpanStatus.OK, started_at)
        )

    def event(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Record that something happened."""

        def span() -> Span:
            given = "" if attributes is None else as_attributes(attributes)
            return self._span(SpanKind.EVENT, name, attributes=given)

        self._emit(span)

    def exception(self, error: BaseException) -> None:
        """Record an exception with its traceback."""
        self.failure(*error_facts(error))

    def failure(self, name: str, message: str, trace: str = "") -> None:
        """Record an exception that another process caught."""

        def span() -> Span:
            facts = {"exception.type": name, "exception.message": message}
            return self._span(
                SpanKind.EXCEPTION,
                name,
                attributes=as_attributes(facts),
                output=trace,
                status=SpanStatus.ERROR,
            )

        self._emit(span)

    def begin(self) -> None:
        """Emit `attempt.start` and return at once: for an attempt that is durable elsewhere."""
        self._emit(self._start_span)

    def record(self, kind: str, name: str, **fields: Any) -> None:
        """Record a span that was made elsewhere; `fields` are those of `Span`."""
        self._emit(lambda: self._span(kind, name, **fields))

    def keep(self, span: Span) -> None:
        """Emit a span of this attempt that was made elsewhere, as it is."""
        self._emit(lambda: replace(span, subject=self.subject))

    def reward(self, name: str, value: float, target: str = "", source: str = "") -> None:
        """Give a reward, also after the end. `target` is a call's or response's id.

        A value that is no number counts as NaN: no rule can use it, and the episode says so.
        """
        self._emit(
            lambda: self._span(SpanKind.REWARD, name, **reward_fields(name, value, source, target))
        )

    def __enter__(self) -> "Attempt":
        self._tokens.append(_current.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        # Left in another context than it was entered in, as generators do: nothing to go back to.
        with suppress(ValueError, IndexError):
            _current.reset(self._tokens.pop())

    def _emit(self, make: Callable[[], Span]) -> None:
        self.emitted += 1
        try:
            self._telemetry.emit(make())
        except Exception:  # hardly any stack is left, or memory: the agent goes on
            with suppress(Exception):
                logger.warning("a span of %s could not be made", self.episode_id)

    def _tool_span(
        self, name: str, arguments: Any, output: Any, status: str, started_at: int
    ) -> Span:
        return self._span(
            SpanKind.TOOL,
            name,
            input=arguments,
            output=output,
            status=status,
            started_at=started_at,
        )

    def _failed_tool(
        self, name: str, arguments: Any, error: BaseException, started_at: int
    ) -> Span:
        kind = type_name(error)
        text = f"{kind}: {as_name(error)}"
        failed = self._tool_span(name, arguments, text, SpanStatus.ERROR, started_at)
        # Also apart from its text, which a capture mode may leave out.
        facts = {**json.loads(failed.attributes or "{}"), "error.type": kind}
        return replace(failed, attributes=as_attributes(facts))

    def _start_span(self) -> Span:
        expected = as_text(self._facts.expected)
        return self._span(
            SpanKind.START,
            self.agent or "attempt",
            span_id=self.root,
            parent_id="",
            input=self._task_input,
            attributes=marked(self._attributes, expected.replaced),
            started_at=self._started_at,
            start=replace(self._facts, expected=expected.text),
        )

    def _end_span(
        self, result: Any, status: Any, attributes: Mapping[str, Any] | None = None
    ) -> Span:
        told = issubclass(type(status), str) and str.__str__(status) in STATUSES
        given = "" if attributes is None else as_attributes(attributes)
        return self._span(
            SpanKind.END,
            self.agent or "attempt",
            span_id=self.end_id,
            output=result,
            attributes=given if told else as_json({"status": as_name(status), REPLACED: 1}).text,
            # Not `unset`: that is what an attempt has that nobody ended.
            status=status if told else SpanStatus.ERROR,
            started_at=self._started_at,
        )

    def _span(self, kind: str, name: str, **fields: Any) -> Span:
        now = time.time_ns()
        defaults: dict[str, Any] = {
            "rollout_id": self.rollout_id,
            "attempt": self.attempt,
            "span_id": new_span_id(),
            "parent_id": self.root,
            "project": self.project,
            "subject": self.subject,
            "agent": self.agent,
            "started_at": now,
            "ended_at": now,
        }
        texts = {side: as_text(fields.pop(side, "")) for side in ("input", "output")}
        attributes = fields.pop("attributes", "")
        if replaced := sum(text.replaced for text in texts.values()):
            attributes = marked(attributes, replaced)
        return Span(
            kind=kind,
            name=as_name(name),
            attributes=attributes,
            input=texts["input"].text,
            output=texts["output"].text,
            **(defaults | fields),
        )


def send_reward(
    telemetry: Emitter,
    rollout_id: str,
    attempt: str,
    name: str,
    value: float,
    *,
    target: str = "",
    source: str = "",
    project: str | None = None,
    span_id: str | None = None,
    timeout: float = 30.0,
) -> Durability:
    """Give a reward to an attempt of long ago, from anywhere; returns when it is durable.

    Give a `span_id` of your own to be able to send it again without counting twice.

    A value that is no number counts as NaN.

    Raises:
        NotDurable: it may not have arrived.
        InvalidId: an id is none.
    """
    now = time.time_ns()
    span = Span(
        rollout_id=rollout_id,
        attempt=attempt,
        span_id=span_id or new_span_id(),
        kind=SpanKind.REWARD,
        name=as_name(name),
        project=project or telemetry.config.project,
        started_at=now,
        ended_at=now,
        **reward_fields(name, value, source, target),
    )
    return telemetry.emit_durably(span, timeout)
