"""Errors of the ClickHouse client.

ClickHouseError
├── StatementFailed
│   ├── ClickHouseUnavailable   not reachable, or busy: the same bytes may be sent again
│   └── ClickHouseRejected      the server said no: bad SQL or a bug; again would fail again
└── MigrationError              the migrations folder and the database disagree
"""

from headrace.schemas import Unavailable


class ClickHouseError(Exception):
    """Root of the tree."""


class StatementFailed(ClickHouseError):
    """A statement was not executed, or nobody knows whether it was.

    Attributes: `said`, what the server or the network said; `code`, ClickHouse's, or None. The text
    of the error also shows the statement, where `said` does not.
    """

    def __init__(self, said: str, code: int | None = None, *, statement: str = "") -> None:
        super().__init__(said if statement in said else f"{said} in: {statement}")
        self.said = said
        self.code = code


class ClickHouseUnavailable(StatementFailed, Unavailable):
    """Refused connection, timeout, broken pipe, or a server short of memory, disk or slots.

    Whether the statement was executed is unknown.
    """


class ClickHouseRejected(StatementFailed):
    """The server (or the driver) refused the statement."""


class MigrationError(ClickHouseError):
    """A migration is missing, changed after it was applied, or misnamed."""
