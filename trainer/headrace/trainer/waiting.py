"""Waiting for what is away: in place, reported, and given up only when the trainer is stopped."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from headrace.connectors.kafka import KafkaUnavailable
from headrace.schemas import RegistryUnavailable

logger = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_S = 0.5


class Stopped(Exception):
    """The trainer was told to stop while it waited. Nothing is lost: a restart goes on."""


class Patience:
    """Calls again and again until the other side is there."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._told = ""

    def until_there(self, call: Callable[[], T]) -> T:
        """What `call` returns once the broker and the registry answer."""
        while True:
            try:
                result = call()
            except (KafkaUnavailable, RegistryUnavailable) as error:
                self.pause(str(error))
                continue
            self._told = ""
            return result

    def pause(self, why: str = "", seconds: float = RETRY_S) -> None:
        """Wait a moment; a reason is logged once in a row, none not at all. Raises Stopped."""
        if why and why != self._told:
            logger.warning("the trainer waits: %s", why)
            self._told = why
        if self._stop.wait(seconds):
            raise Stopped(why)
