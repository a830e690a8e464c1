"""Running agents: takes tasks from Kafka, runs each in a worker process, reports its episode."""

from headrace.connectors.runner.check import check_agent
from headrace.connectors.runner.commands import check_command
from headrace.connectors.runner.config import CommandAgent, InputBy, RunnerConfig, RunnerSettings
from headrace.connectors.runner.ends import NUMBER, RUNNER, Ended, RunnerStats
from headrace.connectors.runner.errors import (
    AgentUnusable,
    ReadingFailed,
    RunnerError,
)
from headrace.connectors.runner.run import Runner

__all__ = [
    "NUMBER",
    "RUNNER",
    "AgentUnusable",
    "CommandAgent",
    "Ended",
    "InputBy",
    "ReadingFailed",
    "Runner",
    "RunnerConfig",
    "RunnerError",
    "RunnerSettings",
    "RunnerStats",
    "check_agent",
    "check_command",
]
