"""Errors of running agents by their command.

CommandError
├── JournalError      the folder for an attempt's spans cannot be used
└── CommandUnusable   the command cannot be started
"""


class CommandError(Exception):
    """Root of the errors of `headrace.connectors.commands`."""


class JournalError(CommandError):
    """The folder for an attempt's spans cannot be made or written."""


class CommandUnusable(CommandError):
    """The command of an agent cannot be started."""
