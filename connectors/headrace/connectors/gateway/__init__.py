"""The gateway: an OpenAI-compatible server that keeps the telemetry of every call.

`python -m headrace.connectors.gateway` runs it. `dialects` has a module an API, `backends` what
answers a call, `policy` which version does. Imports no torch; the engine does.
"""

from headrace.connectors.gateway.config import GatewayConfig, GatewaySettings
from headrace.connectors.gateway.errors import ApiError, ConfigurationError, GatewayError

__all__ = [
    "ApiError",
    "ConfigurationError",
    "GatewayConfig",
    "GatewayError",
    "GatewaySettings",
]
