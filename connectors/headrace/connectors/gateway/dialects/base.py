"""What every API of the gateway is made of. Pure.

A dialect reads a request of its API and writes answers and errors as its clients expect them;
`endpoints` does what is the same for all: admission, correlation, the backend, the span that is
durable before the answer's last byte.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from headrace.connectors.gateway.conversation import Answer, AnswerEvent, Ask
from headrace.connectors.gateway.dialects.responses.memory import ResponseMemory
from headrace.connectors.gateway.dialects.sse import Sse
from headrace.connectors.gateway.errors import ApiError


@dataclass(kw_only=True, slots=True, frozen=True)
class Reading:
    """What a dialect may know beside the body of a request."""

    max_messages: int
    default_max_tokens: int
    scope: str
    """Who asks: earlier answers are shown to nobody else."""
    responses: ResponseMemory
    """Earlier answers that a request may go on from."""
    seen: Callable[[Any], Any]
    """JSON of such an answer as a model may see it again."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Head:
    """What is known of an answer before its first token."""

    id: str
    """The response id."""
    model: str
    """As the client named it."""
    created: int
    """Seconds since the epoch."""


class AnswerWriter(Protocol):
    """Writes one answer: whole, or as the events of a stream."""

    def whole(self, answer: Answer) -> Mapping[str, Any]:
        """The answer's JSON."""

    def start(self) -> list[Sse]:
        """What goes out before the first token."""

    def grew(self, event: AnswerEvent) -> list[Sse]:
        """What an event of the answer means for the client."""

    def end(self, answer: Answer) -> list[Sse]:
        """What goes out once the answer is whole."""

    def fail(self, failure: ApiError) -> list[Sse]:
        """What goes out where the answer breaks off."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Asking:
    """A request, read."""

    asks: tuple[Ask, ...]
    """What to sample; several where a request has several prompts. Their choices count on."""
    streams: bool
    previous: str = ""
    """Span of the answer that it names to go on from; empty: none."""
    writer: Callable[[Head], AnswerWriter]


class Dialect(Protocol):
    """One API."""

    @property
    def operation(self) -> str:
        """What its calls are by OpenTelemetry's GenAI names: chat, text_completion."""

    @property
    def id_prefix(self) -> str:
        """What its response ids begin with; the span's id follows."""

    @property
    def path(self) -> str:
        """Its path under /v1, for an upstream."""

    def read(self, body: Mapping[str, Any], reading: Reading) -> Asking:
        """What a request asks for.

        Raises:
            ApiError: it is malformed, or asks for what is not served.
        """

    def error(self, failure: ApiError) -> Mapping[str, Any]:
        """An error's JSON."""

    def broke_off(self, failure: ApiError) -> Sse:
        """The event that tells an error in the midst of an upstream's stream."""
