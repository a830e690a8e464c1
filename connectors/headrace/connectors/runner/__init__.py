"""Running agents: takes tasks from Kafka, runs each in a worker process, reports its episode."""

from headrace.connectors.runner.attempts import RunnerStats
from headrace.connectors.runner.check import check_agent
from headrace.connectors.runner.config import RunnerConfig
from headrace.connectors.runner.errors import (
    AgentUnusable,
    ReadingFailed,
    RunnerError,
    RunnerMisconfigured,
)
from headrace.connectors.runner.run import Runner

__all__ = [
    "AgentUnusable",
    "ReadingFailed",
    "Runner",
    "RunnerConfig",
    "RunnerError",
    "RunnerMisconfigured",
    "RunnerStats",
    "check_agent",
]
