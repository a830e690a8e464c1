"""Errors of the runner.

RunnerError
├── AgentUnusable         the agent cannot be imported or called
└── ReadingFailed         the Kafka client failed for good
"""


class RunnerError(Exception):
    """Root of the errors of `headrace.connectors.runner`."""


class AgentUnusable(RunnerError):
    """The agent cannot be imported, or cannot be called as its task asks."""


class ReadingFailed(RunnerError):
    """The tasks cannot be read, and trying again does not help."""
