"""Spans of OpenTelemetry as spans of headrace: one model for every convention of the field.

Pure. `headrace run` and the OTLP receiver both come by here: `map_span`. The conventions' names are
data, in the `.toml` files beside this.
"""

from headrace.connectors.mapping.place import Place, Refusal, named_in
from headrace.connectors.mapping.source import SourceEvent, SourceSpan
from headrace.connectors.mapping.spans import Mapped, agent_of, map_span

__all__ = [
    "Mapped",
    "Place",
    "Refusal",
    "SourceEvent",
    "SourceSpan",
    "agent_of",
    "map_span",
    "named_in",
]
