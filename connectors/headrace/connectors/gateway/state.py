"""What the request handlers share."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Protocol

from starlette.requests import Request

from headrace.connectors.feedback import Answered, Place, Places, Unread
from headrace.connectors.gateway.backends.embedding import EmbeddingsBackend
from headrace.connectors.gateway.backends.forwarded import Forwarded
from headrace.connectors.gateway.config import GatewayConfig
from headrace.connectors.gateway.conversation import Message
from headrace.connectors.gateway.correlation import Correlation
from headrace.connectors.gateway.correlation.anonymous import Anonymous
from headrace.connectors.gateway.correlation.clients import Client
from headrace.connectors.gateway.correlation.conversations import Conversations
from headrace.connectors.gateway.dialects.responses.memory import ResponseMemory
from headrace.connectors.gateway.errors import (
    CallNotDurable,
    ModelNotFound,
    Overloaded,
    RateLimited,
)
from headrace.connectors.gateway.limits import Limits
from headrace.connectors.gateway.metrics import Metrics, ServingCollector
from headrace.connectors.gateway.policy.policies import Policies, Route
from headrace.connectors.gateway.privacy import CallPrivacy
from headrace.connectors.gateway.retries import Retries
from headrace.connectors.privacy import Privacy
from headrace.schemas import Span

logger = logging.getLogger(__name__)


class DurableTelemetry(Protocol):
    """The part of `headrace.connectors.sdk.Telemetry` that the gateway needs."""

    async def aemit_durably(self, span: Span) -> str:
        """Return when Kafka or the spool has the span, and say which; raises if neither does."""

    async def aemit_all_durably(self, spans: Sequence[Span]) -> str:
        """The same of several, all or none."""


class GatewayState:
    """One gateway: its settings, its backends, its telemetry and its numbers."""

    def __init__(
        self,
        config: GatewayConfig,
        telemetry: DurableTelemetry,
        *,
        policies: Policies,
        forwarded: Forwarded | None,
        embeddings: EmbeddingsBackend | None = None,
        privacy: Privacy | None = None,
    ) -> None:
        self.config = config
        self.privacy = CallPrivacy(privacy or Privacy(config.privacy))
        self.metrics = Metrics()
        self.policies = policies
        self.in_flight = 0
        self.responses = ResponseMemory(config.responses_memory_bytes)
        self.retries = Retries(config.retries_memory_bytes)
        self._limits = Limits(
            requests_per_minute=config.requests_per_minute,
            tokens_per_minute=config.tokens_per_minute,
        )
        self._conversations = Conversations(
            idle_s=config.conversation_idle_s, max_bytes=config.conversations_memory_bytes
        )
        self.answered = Answered()
        self.places = Places(config.clickhouse)
        self.unread = partial(Unread, config.kafka.client("headrace.feedback"))
        self.embeddings = embeddings or EmbeddingsBackend(local=None, upstream=None)
        self._telemetry = telemetry
        self._forwarded = forwarded
        if policies:
            self.metrics.watch(ServingCollector(policies))

    def route(self, model: str, agent: str) -> Route | None:
        """The policy that answers an agent that asks for a model; None: the upstream does.

        Raises:
            ModelNotFound: nobody does.
        """
        if (route := self.policies.route(model, agent)) is not None:
            return route
        if self._forwarded is not None:
            return None
        # Agents are written with a vendor's model: here it is a name of the default policy.
        names = list(dict.fromkeys(serving.policy for serving in self.policies))
        is_pin = any(model.startswith(f"{name}@") for name in names)
        if names and self.config.other_models == "policy" and not is_pin:
            return self.policies.others(model)
        raise ModelNotFound(
            f"the model {model!r} does not exist: this gateway serves "
            f"{' and '.join(names) or 'none'}",
            param="model",
        )

    @property
    def forwarder(self) -> Forwarded:
        """The upstream; ask `route` before."""
        assert self._forwarded is not None
        return self._forwarded

    def anonymous(
        self, correlation: Correlation, messages: tuple[Message, ...], named: Iterable[str]
    ) -> Anonymous | None:
        """A call whose episode its conversation may tell; None: it is known, or cannot be told.

        named: what the request names of earlier answers; the latest first.
        """
        if not correlation.is_anonymous or not messages:
            return None
        return Anonymous(self._conversations, correlation, messages, named)

    @contextmanager
    def place(self, client: Client) -> Iterator[None]:
        """A place among the requests in flight.

        Raises:
            RateLimited: the client asks for more than it may.
            Overloaded: all places are taken.
        """
        try:
            self._limits.admit(client.limited_as, monotonic())
        except RateLimited as error:
            self.metrics.limited(error.limit, client.project)
            raise
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

    def spent(self, client: Client, tokens: int) -> None:
        """Count the tokens that a client's request took."""
        self._limits.spent(client.limited_as, tokens, monotonic())

    async def record(self, spans: Sequence[Span]) -> None:
        """Return when all spans are durable.

        Raises:
            CallNotDurable: neither Kafka nor the spool has all of them.
        """
        calls = [span for span in spans if span.call is not None]
        try:
            if len(spans) == 1:
                where = await self._telemetry.aemit_durably(spans[0])
            else:
                where = await self._telemetry.aemit_all_durably(spans)
        except Exception as error:  # whatever went wrong, the calls are not on record
            first = spans[0]
            self.metrics.undurable(len(calls))
            logger.exception("call %s of %s is not durable", first.span_id, first.rollout_id)
            raise CallNotDurable(
                "the call could not be recorded by Kafka nor by the gateway's spool, so its answer "
                f"is held back: {error}"
            ) from error
        self.metrics.durable(where, len(calls))
        for span in calls:
            self.answered.add(
                Place(
                    project=span.project,
                    rollout_id=span.rollout_id,
                    attempt=span.attempt,
                    span_id=span.span_id,
                )
            )


def state_of(request: Request) -> GatewayState:
    """The gateway that a request came to."""
    state = request.app.state.gateway
    assert isinstance(state, GatewayState)
    return state
