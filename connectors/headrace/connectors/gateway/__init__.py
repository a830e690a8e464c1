"""The gateway: an OpenAI-compatible server that keeps the telemetry of every call.

`python -m headrace.connectors.gateway` runs it. One module an API: `chat`, `models`, `health`.
Imports no torch; the engine does.
"""

from headrace.connectors.gateway.app import create_app
from headrace.connectors.gateway.config import GatewayConfig
from headrace.connectors.gateway.errors import ApiError, ConfigurationError, GatewayError
from headrace.connectors.gateway.state import GatewayState

__all__ = [
    "ApiError",
    "ConfigurationError",
    "GatewayConfig",
    "GatewayError",
    "GatewayState",
    "create_app",
]
