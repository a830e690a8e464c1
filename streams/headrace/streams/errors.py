"""Errors of the stream processors.

StreamsError
├── StreamsSettingsError  a setting that cannot work: names the field and the fix
├── HostError             the host cannot run its stage
└── StoreInconsistent     ClickHouse does not show what it acknowledged
"""


class StreamsError(Exception):
    """Root of the errors of `headrace.streams`."""


class StreamsSettingsError(StreamsError, ValueError):
    """A setting that cannot work."""


class HostError(StreamsError):
    """The host cannot run its stage."""


class StoreInconsistent(StreamsError):
    """ClickHouse does not show rows whose insert it acknowledged."""
