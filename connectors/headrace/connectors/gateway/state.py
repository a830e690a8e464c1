"""What the request handlers share."""

import logging
from typing import Any, Protocol

from starlette.requests import Request

from headrace.connectors.gateway.backends.embedding import EmbeddingsBackend
from headrace.connectors.gateway.calls import Completion, IncomingCall
from headrace.connectors.gateway.config import GatewayConfig
from headrace.connectors.gateway.dialects.responses.memory import ResponseMemory
from headrace.connectors.gateway.errors import CallNotDurable, ModelNotFound
from headrace.connectors.gateway.metrics import Metrics, ServingCollector
from headrace.connectors.gateway.policy.serving import PolicyServing
from headrace.connectors.gateway.policy.versions import split_model
from headrace.schemas import Span

logger = logging.getLogger(__name__)


class DurableTelemetry(Protocol):
    """The part of `headrace.connectors.sdk.Telemetry` that the gateway needs."""

    async def aemit_durably(self, span: Span) -> str:
        """Return when Kafka or the spool has the span, and say which; raises if neither does."""


class Backend(Protocol):
    """Who answers a chat completion."""

    async def complete(self, asked: IncomingCall, body: dict[str, Any]) -> Completion:
        """Answer; raises ApiError."""


class GatewayState:
    """One gateway: its settings, its backends, its telemetry and its numbers."""

    def __init__(
        self,
        config: GatewayConfig,
        telemetry: DurableTelemetry,
        *,
        serving: PolicyServing | None,
        sampled: Backend | None,
        forwarded: Backend | None,
        embeddings: EmbeddingsBackend | None = None,
    ) -> None:
        self.config = config
        self.metrics = Metrics()
        self.serving = serving
        self.in_flight = 0
        self.responses = ResponseMemory(config.responses_memory_bytes)
        self.embeddings = embeddings or EmbeddingsBackend(local=None, upstream=None)
        self._telemetry = telemetry
        self._sampled = sampled
        self._forwarded = forwarded
        if serving is not None:
            self.metrics.watch(ServingCollector(serving))

    def backend(self, model: str) -> Backend:
        """Who answers for a model; raises ModelNotFound."""
        if self._sampled is not None and split_model(model)[0] == self.config.policy.name:
            return self._sampled
        if self._forwarded is not None:
            return self._forwarded
        raise ModelNotFound(
            f"the model {model!r} does not exist: this gateway serves {self.config.policy.name}",
            param="model",
        )

    async def record(self, span: Span) -> None:
        """Return when the span is durable.

        Raises:
            NotDurable: neither Kafka nor the spool has it.
        """
        try:
            where = await self._telemetry.aemit_durably(span)
        except Exception as error:  # whatever went wrong, the call is not on record
            self.metrics.undurable()
            logger.exception("call %s of %s is not durable", span.span_id, span.rollout_id)
            raise CallNotDurable(
                "the call could not be recorded by Kafka nor by the gateway's spool, so its answer "
                f"is held back: {error}"
            ) from error
        self.metrics.durable(where)


def state_of(request: Request) -> GatewayState:
    """The gateway that a request came to."""
    state = request.app.state.gateway
    assert isinstance(state, GatewayState)
    return state
