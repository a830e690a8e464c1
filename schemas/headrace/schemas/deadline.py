"""What a told deadline may be."""

FARTHEST_MS = 100 * 24 * 3600 * 1000


def is_time(deadline: int, log_time: int) -> bool:
    """Whether a deadline can be a time in milliseconds: it is within 100 days of the log's.

    One in seconds has always passed, one in nanoseconds never comes; neither says anything.
    """
    return abs(deadline - log_time) <= FARTHEST_MS
