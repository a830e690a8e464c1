"""Errors of running agents by their command.

InstrumentError
├── JournalError      the folder for an attempt's spans cannot be used
└── CommandUnusable   the command cannot be started
"""


class InstrumentError(Exception):
    """Root of the errors of `headrace.connectors.instrument`."""


class JournalError(InstrumentError):
    """The folder for an attempt's spans cannot be made or written."""


class CommandUnusable(InstrumentError):
    """The command of an agent cannot be started."""
