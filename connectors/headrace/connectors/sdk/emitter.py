"""What an attempt needs of telemetry."""

from typing import Literal, Protocol

from headrace.connectors.sdk.config import SdkConfig
from headrace.schemas import Span

Durability = Literal["delivered", "spooled", "suppressed"]
"""Kafka has it; Kafka is away and the spool has it; the capture mode is `none`."""


class Emitter(Protocol):
    """Takes spans: Telemetry, as far as an attempt uses it."""

    config: SdkConfig

    def emit(self, span: Span) -> None:
        """Take a span and return; never raises."""

    def emit_durably(self, span: Span, timeout: float = 30.0) -> Durability:
        """Take a span and return when it is durable; raises NotDurable."""

    async def aemit_durably(self, span: Span, within: float = 30.0) -> Durability:
        """`emit_durably` for asyncio."""
