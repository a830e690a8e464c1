"""Sessions: one statement at a time, and a connection of their own only once they hold state.

clickhouse-connect sends a random session_id with every request. Most sessions never run SET, USE or
CREATE TEMPORARY TABLE, and their statements run on fresh connections.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from headrace.infra.embedded.clickhouse.engine import Connection
from headrace.infra.embedded.clickhouse.errors import (
    BAD_ARGUMENTS,
    SESSION_IS_LOCKED,
    SESSION_NOT_FOUND,
    QueryError,
)
from headrace.infra.embedded.clickhouse.request import Request

DEFAULT_S = 60
_LONGEST_S = 3600


@dataclass(slots=True)
class HttpSession:
    """One session; it is locked while one of its statements runs."""

    locked: bool = False
    connection: Connection | None = None
    expires: float = 0.0


class Sessions:
    """All sessions by id. Belongs to the event loop's thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[str, HttpSession] = {}

    @contextmanager
    def held(self, request: Request) -> Iterator[HttpSession | None]:
        """The session that the request names, locked; None where it names none.

        Raises:
            QueryError: 373 if another statement of it runs, and what `of` raises.
        """
        session = self.of(request)
        if session is None:
            yield None
            return
        if session.locked:
            name = request.values["session_id"]
            raise QueryError(
                SESSION_IS_LOCKED,
                f"Session {name} is locked by a concurrent client. (SESSION_IS_LOCKED)",
            )
        session.locked = True
        try:
            yield session
        finally:
            session.locked = False
            session.expires = self._clock() + _seconds(request)

    def of(self, request: Request) -> HttpSession | None:
        """The session that the request names, made if it is new; None where it names none.

        Raises:
            QueryError: 372 if session_check=1 and it is new; 36 for a bad session_timeout.
        """
        name = request.values.get("session_id")
        if not name:
            return None
        self._sweep()
        session = self._sessions.get(name)
        if session is None:
            if request.flag("session_check"):
                raise QueryError(SESSION_NOT_FOUND, "Session not found. (SESSION_NOT_FOUND)")
            session = self._sessions[name] = HttpSession()
        session.expires = self._clock() + _seconds(request)
        return session

    def close(self) -> None:
        """Closes every session's connection."""
        for session in self._sessions.values():
            if session.connection is not None:
                session.connection.close()
        self._sessions.clear()

    def _sweep(self) -> None:
        now = self._clock()
        for name, session in list(self._sessions.items()):
            if session.expires < now and not session.locked:
                del self._sessions[name]
                if session.connection is not None:
                    session.connection.close()


def _seconds(request: Request) -> int:
    text = request.values.get("session_timeout") or str(DEFAULT_S)
    if not text.isdecimal() or int(text) > _LONGEST_S:
        raise QueryError(
            BAD_ARGUMENTS,
            f"session_timeout={text!r}: use whole seconds up to {_LONGEST_S}. (BAD_ARGUMENTS)",
        )
    return int(text)
