"""Ctrl-C beside librdkafka: it ends the call, and never arrives in the midst of it.

confluent-kafka calls our functions (log lines, deliveries) from within `poll` and `consume`. A
KeyboardInterrupt raised there was seen to come out as a SystemError ("returned NULL without setting
an exception"), or, while a client was made, as a TypeError: what no caller expects.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """Raise a KeyboardInterrupt of this thread behind the block, not within it.

    It is raised whatever the block raised, which is then its context.
    For calls that end soon. Signals that have another handler, and threads that get none,
    are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raising = [one for one in _SIGNALS if signal.getsignal(one) is signal.default_int_handler]
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    for one in raising:
        signal.signal(one, note)
    try:
        yield
    finally:
        for one in raising:
            signal.signal(one, signal.default_int_handler)
        if came:
            raise KeyboardInterrupt
