"""Which episode a call belongs to: one that its request says, its conversation's, or a new one."""

from headrace.connectors.gateway.correlation.place import (
    AGENT_HEADER,
    PLACE_HEADERS,
    PREFIXES,
    Correlation,
    correlate,
)

__all__ = ["AGENT_HEADER", "PLACE_HEADERS", "PREFIXES", "Correlation", "correlate"]
