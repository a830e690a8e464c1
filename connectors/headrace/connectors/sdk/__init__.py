"""The agent's SDK: spans, rewards and end markers to Kafka, never in the agent's way.

Imports no torch, no Faust and no pyarrow.
"""

from headrace.connectors.sdk.attempt import Attempt, ToolResult, current_attempt, send_reward
from headrace.connectors.sdk.config import SdkConfig, sdk_config
from headrace.connectors.sdk.emitter import Durability
from headrace.connectors.sdk.errors import (
    Closed,
    MemoryFull,
    NotDurable,
    SpoolError,
    TelemetryError,
)
from headrace.connectors.sdk.lines import reward, span, tool
from headrace.connectors.sdk.stats import Stats
from headrace.connectors.sdk.telemetry import Telemetry
from headrace.connectors.sdk.transport import Away, KafkaTransport, Refused, Transport

__all__ = [
    "Attempt",
    "Away",
    "Closed",
    "Durability",
    "KafkaTransport",
    "MemoryFull",
    "NotDurable",
    "Refused",
    "SdkConfig",
    "SpoolError",
    "Stats",
    "Telemetry",
    "TelemetryError",
    "ToolResult",
    "Transport",
    "current_attempt",
    "reward",
    "sdk_config",
    "send_reward",
    "span",
    "tool",
]
