"""Errors of the runner.

RunnerError
├── RunnerMisconfigured   a value of its configuration cannot be used
├── AgentUnusable         the agent cannot be imported or called
└── ReadingFailed         the Kafka client failed for good
"""


class RunnerError(Exception):
    """Root of the errors of `headrace.connectors.runner`."""


class RunnerMisconfigured(RunnerError, ValueError):
    """A value of the runner's configuration cannot be used."""


class AgentUnusable(RunnerError):
    """The agent cannot be imported, or cannot be called as its task asks."""


class ReadingFailed(RunnerError):
    """The tasks cannot be read, and trying again does not help."""
