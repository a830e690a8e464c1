"""Apicurio Registry on loopback, behind a small front that no web page passes.

Apicurio answers whoever reaches its port, under any Host. So it listens on an address that only the
front knows, and the front asks who asks (`headrace.connectors.loopback.refusal`).
"""

from headrace.infra.embedded.registry.part import (
    RegistryConfig,
    command,
    configure,
    is_ready,
    prepare,
)

__all__ = ["RegistryConfig", "command", "configure", "is_ready", "prepare"]
