"""The exception that ends a process, as a record of its journal. Standard library only."""

import os
import time
import traceback
from typing import Any

_TRACE = 100_000  # characters


def raised_record(error: BaseException) -> dict[str, Any]:
    """What is recorded of an exception that nobody caught; never raises."""
    return {
        "k": "raised",
        "id": os.urandom(8).hex(),
        "at": time.time_ns(),
        "name": _type_name(type(error)),
        "message": _message(error),
        "trace": "".join(traceback.format_exception(error))[-_TRACE:],
    }


def _type_name(kind: type[BaseException]) -> str:
    """As OpenTelemetry names it in an `exception` event."""
    is_plain = kind.__module__ == "builtins"
    return kind.__qualname__ if is_plain else f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "it cannot be put into words"
