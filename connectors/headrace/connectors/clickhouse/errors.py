"""Errors of the ClickHouse client.

ClickHouseError
├── ClickHouseUnavailable   not reachable, or busy: the same bytes may be sent again
├── ClickHouseRejected      the server said no: bad SQL or a bug; again would fail again
└── MigrationError          the migrations folder and the database disagree
"""

from headrace.schemas import Unavailable


class ClickHouseError(Exception):
    """Root of the tree."""


class ClickHouseUnavailable(ClickHouseError, Unavailable):
    """Refused connection, timeout, broken pipe, or a server short of memory, disk or slots.

    Whether the statement was executed is unknown. Attribute `code`: ClickHouse's, or None.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class ClickHouseRejected(ClickHouseError):
    """The server (or the driver) refused the statement. Attribute `code`: ClickHouse's, or None."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class MigrationError(ClickHouseError):
    """A migration is missing, changed after it was applied, or misnamed."""
