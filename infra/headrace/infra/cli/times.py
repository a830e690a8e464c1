"""Times of the log, as options give them."""

from datetime import UTC, datetime, timedelta

from headrace.infra.cli.app import WRONG_USE, fail

HOW = "Log time: 90m, 12h or 7d ago, or ISO 8601."
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def log_time(text: str, option: str) -> int:
    """Milliseconds since the epoch; 0 for an empty text. Ends the command for one that is none."""
    if not text:
        return 0
    number, unit = text[:-1], text[-1]
    try:
        if unit in _UNITS:
            moment = datetime.now(UTC) - timedelta(**{_UNITS[unit]: float(number)})
        else:
            moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        fail(f"{option} {text!r} is no time: write 90m, 12h, 7d or 2026-01-31T12:00", WRONG_USE)
    return max(1, int(moment.timestamp() * 1000))
