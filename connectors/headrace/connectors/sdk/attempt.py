"""One attempt at a task: its start, what happens in it, its rewards and its end.

An agent needs none of this: the runner starts and ends its attempt and the gateway sees its
calls. Tools that want to be seen ask `current_attempt()`.
"""

import json
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from headrace.schemas import Reward, Span, Start, episode_id, new_span_id, new_ulid
from headrace.schemas.vocabulary import SpanKind, SpanStatus

if TYPE_CHECKING:
    from headrace.connectors.sdk.telemetry import Durability, Telemetry

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
        telemetry: "Telemetry",
        rollout_id: str,
        attempt: str | None = None,
        *,
        project: str | None = None,
        subject: str | None = None,
        agent: str = "",
        task_input: str = "",
        facts: Start | None = None,
        root: str | None = None,
    ) -> None:
        self.rollout_id = rollout_id
        self.attempt = attempt or new_ulid()
        self.project = project or telemetry.config.project
        self.subject = subject
        self.agent = agent
        self.emitted = 0
        """Spans emitted through this object."""
        self._telemetry = telemetry
        self._task_input = task_input
        self._facts = facts or Start(group_id=rollout_id)
        self._started_at = time.time_ns()
        self.root = root or new_span_id()
        """Span id of `attempt.start`, the parent of all others."""
        self._end_id = new_span_id()
        self._tokens: list[Token[Attempt | None]] = []

    @property
    def episode_id(self) -> str:
        """`{rollout_id}/{attempt}`."""
        return episode_id(self.rollout_id, self.attempt)

    def base_url(self, gateway: str) -> str:
        """The OpenAI base URL at which the gateway counts calls to this attempt."""
        project = "" if self.project == "default" else f"/p/{self.project}"
        path = f"/rollout/{self.rollout_id}/attempt/{self.attempt}/v1"
        return gateway.rstrip("/") + project + path

    def start(self, timeout: float = 30.0) -> "Durability":
        """Emit `attempt.start` and wait until it is durable. Raises NotDurable."""
        return self._telemetry.emit_durably(self._start_span(), timeout)

    async def astart(self, within: float = 30.0) -> "Durability":
        """`start` for asyncio."""
        return await self._telemetry.aemit_durably(self._start_span(), within)

    def end(
        self, result: Any = None, *, status: str = SpanStatus.OK, timeout: float = 30.0
    ) -> "Durability":
        """Emit `attempt.end` with the result as JSON and wait until it is durable.

        After NotDurable call it again with the same result: it is the same span.
        """
        return self._telemetry.emit_durably(self._end_span(result, status), timeout)

    async def aend(
        self, result: Any = None, *, status: str = SpanStatus.OK, within: float = 30.0
    ) -> "Durability":
        """`end` for asyncio."""
        return await self._telemetry.aemit_durably(self._end_span(result, status), within)

    @contextmanager
    def tool(self, name: str, arguments: Any = None) -> Iterator[ToolResult]:
        """Record a tool's execution; an exception makes its status `error` and goes on."""
        started_at = time.time_ns()
        result = ToolResult()
        try:
            yield result
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
            self._tool_span(name, arguments, text, SpanStatus.ERROR, started_at)
            raise
        self._tool_span(name, arguments, _text(result.output), SpanStatus.OK, started_at)

    def event(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Record that something happened."""
        self._emit(self._span(SpanKind.EVENT, name, attributes=_text(attributes)))

    def exception(self, error: BaseException) -> None:
        """Record an exception with its traceback."""
        trace = "".join(traceback.format_exception(error))
        self.failure(type(error).__name__, str(error), trace)

    def failure(self, name: str, message: str, trace: str = "") -> None:
        """Record an exception that another process caught."""
        attributes = _text({"exception.type": name, "exception.message": message})
        span = self._span(
            SpanKind.EXCEPTION, name, attributes=attributes, output=trace, status=SpanStatus.ERROR
        )
        self._emit(span)

    def reward(self, name: str, value: float, target: str = "", source: str = "") -> None:
        """Give a reward, also after the end. `target` is a call's or response's id."""
        self._emit(self._reward_span(Reward(name=name, value=value, source=source, target=target)))

    def __enter__(self) -> "Attempt":
        self._tokens.append(_current.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._tokens.pop())

    def _emit(self, span: Span) -> None:
        self.emitted += 1
        self._telemetry.emit(span)

    def _tool_span(
        self, name: str, arguments: Any, output: str, status: str, started_at: int
    ) -> None:
        self._emit(
            self._span(
                SpanKind.TOOL,
                name,
                input=_text(arguments),
                output=output,
                status=status,
                started_at=started_at,
            )
        )

    def _start_span(self) -> Span:
        return self._span(
            SpanKind.START,
            self.agent or "attempt",
            span_id=self.root,
            parent_id="",
            input=self._task_input,
            start=self._facts,
        )

    def _end_span(self, result: Any, status: str) -> Span:
        return self._span(
            SpanKind.END,
            self.agent or "attempt",
            span_id=self._end_id,
            output=_text(result),
            status=status,
            started_at=self._started_at,
        )

    def _reward_span(self, reward: Reward) -> Span:
        return self._span(SpanKind.REWARD, reward.name, reward=reward)

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
        return Span(kind=kind, name=name, **(defaults | fields))


def send_reward(
    telemetry: "Telemetry",
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
) -> "Durability":
    """Give a reward to an attempt of long ago, from anywhere; returns when it is durable.

    Give a `span_id` of your own to be able to send it again without counting twice.

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
        name=name,
        project=project or telemetry.config.project,
        started_at=now,
        ended_at=now,
        reward=Reward(name=name, value=value, source=source, target=target),
    )
    return telemetry.emit_durably(span, timeout)


def _text(value: Any) -> str:
    """JSON of a value that is none yet; a string stays as it is."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
