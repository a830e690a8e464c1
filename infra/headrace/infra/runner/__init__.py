"""Running agents: takes tasks from Kafka, runs each in a worker process, reports its episode."""

from headrace.infra.runner.agent import AgentUnusable
from headrace.infra.runner.attempts import RunnerStats
from headrace.infra.runner.check import check_agent
from headrace.infra.runner.config import RunnerConfig
from headrace.infra.runner.run import Runner

__all__ = ["AgentUnusable", "Runner", "RunnerConfig", "RunnerStats", "check_agent"]
