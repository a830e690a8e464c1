"""Waiting for what real parts do: until it holds, or with a failure that says what did not."""

import asyncio
import time
from collections.abc import Callable

SECONDS = 120.0
"""Only a failure takes this long: generous, for a machine with other work to do."""
PAUSE_S = 0.05


def wait_until(
    condition: Callable[[], bool],
    what: Callable[[], str] | str,
    seconds: float = SECONDS,
    *,
    pause_s: float = PAUSE_S,
) -> None:
    """Look again and again until the condition holds; fail the test at the deadline.

    A condition may do work of its own (poll a consumer, say). `what` names what was waited for;
    a function is called at the deadline, and may say how far it came.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, _failure(what, seconds)
        time.sleep(pause_s)


async def wait_until_async(
    condition: Callable[[], bool],
    what: Callable[[], str] | str,
    seconds: float = SECONDS,
    *,
    pause_s: float = 0.001,
) -> None:
    """`wait_until` in a loop that goes on meanwhile."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, _failure(what, seconds)
        await asyncio.sleep(pause_s)


def _failure(what: Callable[[], str] | str, seconds: float) -> str:
    return f"not within {seconds:g} s: {what if isinstance(what, str) else what()}"
