"""The log sink: outcomes, policies, tasks and dead letters from their topics into ClickHouse."""

from headrace.streams.sink.config import SinkConfig, config_from_environment
from headrace.streams.sink.sink import Sink, main

__all__ = ["Sink", "SinkConfig", "config_from_environment", "main"]
