"""Spans of OpenTelemetry as spans of headrace: one model for every convention of the field.

Pure. `headrace run` and the OTLP receiver both come by here.
"""

from headrace.connectors.mapping.source import Convention, SourceEvent, SourceSpan

__all__ = ["Convention", "SourceEvent", "SourceSpan"]
