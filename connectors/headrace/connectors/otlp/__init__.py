"""The OTLP receiver: spans of OpenTelemetry over HTTP become spans of episodes.

`decode` (bytes to SourceSpan) and `bodies` (inflating) are pure; `intake` maps and hands to the
SDK; `app` and `run` are the process: `python -m headrace.connectors.otlp`.
"""

from headrace.connectors.otlp.config import OtlpConfig, OtlpSettings

__all__ = ["OtlpConfig", "OtlpSettings"]
