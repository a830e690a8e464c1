"""Errors of the infrastructure.

InfraError
├── SettingsError   a setting holds a value that cannot be used
├── SetupError      a download could not be fetched, verified or unpacked
├── PortInUse       another process listens where a part wants to
├── LogUnavailable  Kafka or the registry does not answer
├── AlreadyRunning  another supervisor owns the run directory
└── PartFailed      a part did not become ready
"""

from __future__ import annotations


class InfraError(Exception):
    """Any error of `headrace.infra`; its message says what, where and what to do next."""


class SettingsError(InfraError, ValueError):
    """A setting holds a value that cannot be used."""


class SetupError(InfraError):
    """A download could not be fetched, verified or unpacked."""


class PortInUse(InfraError):
    """Another process listens on a port that a part needs."""


class LogUnavailable(InfraError):
    """Kafka or the registry does not answer."""


class AlreadyRunning(InfraError):
    """Another supervisor owns the run directory."""


class PartFailed(InfraError):
    """A part did not become ready; carries the part's name and its last log lines."""

    def __init__(self, part: str, message: str, last_log: tuple[str, ...] = ()) -> None:
        self.part = part
        self.last_log = last_log
        tail = "".join(f"\n  | {line}" for line in last_log)
        super().__init__(f"{part}: {message}{tail}")
