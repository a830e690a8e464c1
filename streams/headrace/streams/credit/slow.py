"""A rule that takes long, told: nothing else of its partitions goes on meanwhile."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

SLOW_S = 5.0


class SlowRule:
    """Notes for how long a rule has been asked of one episode.

    It is told and not ended: what a rule says may not hang on the clock, or one version of a group
    had two contents.
    """

    def __init__(self, rule: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._rule = rule
        self._clock = clock
        self._asking = ""
        self._since = 0.0
        self._warned = False

    def told(self, asking: str) -> str:
        """What to say while the rule is asked of this episode ('': of none); '' for nothing.

        Call it again and again: it measures from the first time that it hears of an episode.
        """
        now = self._clock()
        if asking != self._asking:
            self._asking, self._since, self._warned = asking, now, False
        spent = now - self._since
        if not asking or spent < SLOW_S:
            return ""
        text = (
            f"rule {self._rule} has been at episode {asking} for {spent:.0f} s, and every group "
            "behind it waits: a rule may only calculate; let a producer of rewards wait for others"
        )
        if not self._warned:
            logger.warning("%s", text)
            self._warned = True
        return text
