"""The log sink: outcomes, policies, tasks and dead letters from their topics into ClickHouse."""

from headrace.streams.sink.config import SinkConfig, config_from_environment
from headrace.streams.sink.stage import SinkStage, make_stage

__all__ = ["SinkConfig", "SinkStage", "config_from_environment", "make_stage"]
