"""Errors of the stream processors.

StreamsError
├── HostError             the host cannot run its stage
└── StoreInconsistent     ClickHouse does not show what it acknowledged
"""


class StreamsError(Exception):
    """Root of the errors of `headrace.streams`."""


class HostError(StreamsError):
    """The host cannot run its stage."""


class StoreInconsistent(StreamsError):
    """ClickHouse does not show rows whose insert it acknowledged."""
