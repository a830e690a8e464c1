"""Errors of the SDK. `emit` raises none of them: an agent never fails because of telemetry.

TelemetryError
├── NotDurable   neither Kafka nor the spool had the span within the time given
├── Closed       the telemetry was closed before the span was emitted
└── SpoolError   the spool folder cannot be used
"""


class TelemetryError(Exception):
    """Root of the errors of `headrace.connectors.sdk`."""


class NotDurable(TelemetryError, TimeoutError):
    """Neither Kafka nor the spool had a span in time; it may still arrive."""


class Closed(TelemetryError):
    """The telemetry is closed."""


class SpoolError(TelemetryError):
    """The spool folder cannot be made, read or written."""


class MemoryFull(NotDurable):
    """As much waits for Kafka as SdkConfig.memory_bytes allows; nothing was taken."""
