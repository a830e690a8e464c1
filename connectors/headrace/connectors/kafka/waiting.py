"""Waiting for what is away: in place, logged, with the same bytes, and for as long as it takes.

Kafka, the schema registry and ClickHouse share one base of the errors that waiting mends
(`headrace.schemas.Unavailable`), so whoever waits need not know what for.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from headrace.schemas import Unavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

DELAY_S = 0.25
_MOST_TEXT = 500


class Stopped(Exception):
    """The process was told to stop while it waited. Nothing is lost: a restart goes on."""


def _nothing() -> None:
    pass


class Patience:
    """Makes a call again and again until its other side is there.

    The forms that begin with `a` are for an event loop and run the call in a thread. Two calls
    at the same time need one Patience each, for it says what one of them waits for.

    who: named in the log. stop: when it is set, a wait ends with Stopped. on_wait: called before
    each pause, as for a heartbeat.
    """

    def __init__(
        self,
        who: str = "",
        *,
        stop: threading.Event | None = None,
        on_wait: Callable[[], None] = _nothing,
        delay_s: float = DELAY_S,
    ) -> None:
        self.waiting = ""
        """What is waited for; '' for nothing."""
        self._who = f"{who}: " if who else ""
        self._stop = stop or threading.Event()
        self._on_wait = on_wait
        self._delay_s = delay_s

    def until_done(self, call: Callable[[], T]) -> T:
        """The call's result; raises what waiting cannot mend, and Stopped."""
        while True:
            try:
                result = call()
            except Unavailable as error:
                self.pause(str(error))
            else:
                self.go_on()
                return result

    async def auntil_done(self, call: Callable[[], T]) -> T:
        """`until_done` off the event loop."""
        while True:
            try:
                result = await asyncio.to_thread(call)
            except Unavailable as error:
                await self.apause(str(error))
            else:
                self.go_on()
                return result

    def pause(self, why: str = "", seconds: float | None = None) -> None:
        """Wait a moment; a reason is logged once in a row, none not at all. Raises Stopped."""
        self._tell(why)
        if self._stop.wait(self._delay_s if seconds is None else seconds):
            raise Stopped(why)

    async def apause(self, why: str = "", seconds: float | None = None) -> None:
        """`pause` on an event loop."""
        self._tell(why)
        await asyncio.sleep(self._delay_s if seconds is None else seconds)
        if self._stop.is_set():
            raise Stopped(why)

    def go_on(self) -> None:
        """Nothing is waited for any more."""
        if self.waiting:
            logger.warning("%sgoes on", self._who)
        self.waiting = ""

    def _tell(self, why: str) -> None:
        why = why[:_MOST_TEXT]
        if why and why != self.waiting:
            logger.warning("%swaits: %s", self._who, why)
            self.waiting = why
        self._on_wait()
