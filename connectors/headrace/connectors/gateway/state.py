"""What the request handlers share."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from starlette.requests import Request

from headrace.connectors.gateway.backends.embedding import EmbeddingsBackend
from headrace.connectors.gateway.backends.forwarded import Forwarded
from headrace.connectors.gateway.calls import Completion, IncomingCall
from headrace.connectors.gateway.config import GatewayConfig
from headrace.connectors.gateway.conversation import AnswerEvent, Ask
from headrace.connectors.gateway.dialects.responses.memory import ResponseMemory
from headrace.connectors.gateway.errors import CallNotDurable, ModelNotFound, Overloaded
from headrace.connectors.gateway.metrics import Metrics, ServingCollector
from headrace.connectors.gateway.policy.serving import PolicyServing
from headrace.connectors.gateway.policy.versions import split_model
from headrace.connectors.gateway.retries import Retries
from headrace.schemas import Span

logger = logging.getLogger(__name__)


class DurableTelemetry(Protocol):
    """The part of `headrace.connectors.sdk.Telemetry` that the gateway needs."""

    async def aemit_durably(self, span: Span) -> str:
        """Return when Kafka or the spool has the span, and say which; raises if neither does."""

    async def aemit_all_durably(self, spans: Sequence[Span]) -> str:
        """The same of several, all or none."""


class Sampler(Protocol):
    """Who samples completions."""

    async def answer(
        self,
        asked: IncomingCall,
        asks: Sequence[Ask],
        on_event: Callable[[AnswerEvent], None],
    ) -> Completion:
        """Sample what is asked for; raises ApiError."""

    def count(self, ask: Ask) -> int:
        """Tokens of a prompt; raises ApiError."""


class GatewayState:
    """One gateway: its settings, its backends, its telemetry and its numbers."""

    def __init__(
        self,
        config: GatewayConfig,
        telemetry: DurableTelemetry,
        *,
        serving: PolicyServing | None,
        sampled: Sampler | None,
        forwarded: Forwarded | None,
        embeddings: EmbeddingsBackend | None = None,
    ) -> None:
        self.config = config
        self.metrics = Metrics()
        self.serving = serving
        self.in_flight = 0
        self.responses = ResponseMemory(config.responses_memory_bytes)
        self.retries = Retries(config.retries_memory_bytes)
        self.embeddings = embeddings or EmbeddingsBackend(local=None, upstream=None)
        self._telemetry = telemetry
        self._sampled = sampled
        self._forwarded = forwarded
        if serving is not None:
            self.metrics.watch(ServingCollector(serving))

    def samples(self, model: str) -> bool:
        """Whether our own engine answers for a model; else the upstream does.

        Raises:
            ModelNotFound: neither does.
        """
        policy = self.config.policy.name
        if self._sampled is not None and split_model(model)[0] == policy:
            return True
        if self._forwarded is not None:
            return False
        # Agents are written with a vendor's model: here it is a name of the policy.
        is_pin = model.startswith(f"{policy}@")
        if self._sampled is not None and self.config.other_models == "policy" and not is_pin:
            return True
        raise ModelNotFound(
            f"the model {model!r} does not exist: this gateway serves {policy}", param="model"
        )

    @property
    def sampler(self) -> Sampler:
        """Our own engine; ask `samples` before."""
        assert self._sampled is not None
        return self._sampled

    @property
    def forwarder(self) -> Forwarded:
        """The upstream; ask `samples` before."""
        assert self._forwarded is not None
        return self._forwarded

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the requests in flight; raises Overloaded where all are taken."""
        if self.in_flight >= self.config.max_in_flight:
            raise Overloaded(
                f"{self.in_flight} requests are in flight ([gateway] max_in_flight): try again"
            )
        self.in_flight += 1
        try:
            with self.metrics.in_flight.track_inprogress():
                yield
        finally:
            self.in_flight -= 1

    async def record(self, spans: Sequence[Span]) -> None:
        """Return when all spans are durable.

        Raises:
            CallNotDurable: neither Kafka nor the spool has all of them.
        """
        try:
            if len(spans) == 1:
                where = await self._telemetry.aemit_durably(spans[0])
            else:
                where = await self._telemetry.aemit_all_durably(spans)
        except Exception as error:  # whatever went wrong, the calls are not on record
            first = spans[0]
            self.metrics.undurable(len(spans))
            logger.exception("call %s of %s is not durable", first.span_id, first.rollout_id)
            raise CallNotDurable(
                "the call could not be recorded by Kafka nor by the gateway's spool, so its answer "
                f"is held back: {error}"
            ) from error
        self.metrics.durable(where, len(spans))


def state_of(request: Request) -> GatewayState:
    """The gateway that a request came to."""
    state = request.app.state.gateway
    assert isinstance(state, GatewayState)
    return state
