"""What a told deadline may be."""

from typing import Any

FARTHEST_MS = 100 * 24 * 3600 * 1000


def is_time(deadline: Any, log_time: Any) -> Any:
    """Whether a deadline can be a time in milliseconds: it is within 100 days of the log's.

    One in seconds has always passed, one in nanoseconds never comes; neither says anything, nor
    does 0, which stands for none. Numbers, or arrays of them: element by element.
    """
    return (deadline > 0) & (abs(deadline - log_time) <= FARTHEST_MS)
