"""Errors of the embedded server.

ServerError
├── QueryError     what a client is told: ClickHouse's code, text and HTTP status
├── Disconnected   the client went away; there is nobody left to tell
├── CutShort       the answer had begun when its statement failed
└── StartError     the server cannot start; the message says what to change
"""

import re

_CODE = re.compile(r"^Code: (\d+)\. DB::Exception: ", re.ASCII)

# ClickHouse's own table (exceptionCodeToHTTPStatus); every other code is a 500.
_STATUS = {
    **dict.fromkeys((194,), 401),
    **dict.fromkeys((164, 192, 193, 291, 497, 516, 512), 403),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336, 372), 404),
    **dict.fromkeys((6, 8, 15, 25, 26, 27, 36, 38, 41, 42, 43, 44, 53, 62, 69, 70, 72, 117), 400),
    **dict.fromkeys((167, 168, 223, 271, 321, 376, 427, 456, 457, 675, 676), 400),
    **dict.fromkeys((202, 209, 439), 503),
    **dict.fromkeys((48,), 501),
    **dict.fromkeys((307,), 413),
}

UNKNOWN_DATABASE = 81
UNKNOWN_SETTING = 115
SYNTAX_ERROR = 62
BAD_ARGUMENTS = 36
READONLY = 164
ACCESS_DENIED = 497
AUTHENTICATION_FAILED = 516
CANNOT_DECOMPRESS = 271
TOO_MANY_BYTES = 307
NOT_ENOUGH_SPACE = 243
SESSION_NOT_FOUND = 372
SESSION_IS_LOCKED = 373
LOGICAL_ERROR = 49
STREAMING_NOT_SUPPORTED = "Streaming query is not supported"


class ServerError(Exception):
    """Root of the tree."""


class QueryError(ServerError):
    """A request that the engine or the front refuses.

    Args:
        code: ClickHouse's error code.
        message: the reason, without the `Code: N. DB::Exception:` lead.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {message}")
        self.code = code
        self.status = _STATUS.get(code, 500)

    @classmethod
    def of_engine(cls, error: Exception) -> "QueryError":
        """The engine's RuntimeError as a QueryError; a text without a code is code 49."""
        text = str(error)
        found = _CODE.match(text)
        if found is None:
            return cls(LOGICAL_ERROR, text)
        return cls(int(found[1]), text[found.end() :])


class Disconnected(ServerError):
    """The client closed the connection before its answer was complete."""


class CutShort(ServerError):
    """The answer had begun when its statement failed: the connection ends without the answer's."""


class StartError(ServerError):
    """The server cannot start."""
