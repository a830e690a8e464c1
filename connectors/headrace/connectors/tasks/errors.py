"""Errors of the task source.

TasksError
├── TasksMisconfigured   a value of its configuration cannot be used
└── BadDataset           a file of tasks cannot be read
"""


class TasksError(Exception):
    """Root of the errors of `headrace.connectors.tasks`."""


class TasksMisconfigured(TasksError, ValueError):
    """A value of the source's configuration cannot be used."""


class BadDataset(TasksError, ValueError):
    """A file of tasks cannot be used; says which lines, and why."""
