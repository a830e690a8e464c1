"""What a key may ask for in a minute: requests and tokens. Pure, with bounded memory.

Time is the caller's, in seconds of any clock that never goes back. How many tokens a request takes
is known when it is answered: it is admitted while there are any, and may take more than there are.
"""

import math
from collections import OrderedDict
from typing import NamedTuple

from headrace.connectors.gateway.errors import RateLimited

MINUTE = 60.0
_ROUNDING = 1e-6  # who waits as told must not lack a rounding error
MOST = 10_000
"""Keys or addresses that are counted apart; of more, who asked longest ago is forgotten."""


class Bucket(NamedTuple):
    """What is left of a limit at a time. It fills in a minute, and holds no more than one."""

    left: float
    at: float

    def filled(self, per_minute: int, now: float) -> "Bucket":
        """The same later."""
        grown = self.left + max(0.0, now - self.at) * per_minute / MINUTE
        return Bucket(min(grown, float(per_minute)), max(now, self.at))

    def less(self, amount: float) -> "Bucket":
        """After something was taken."""
        return self._replace(left=self.left - amount)

    def wait_s(self, per_minute: int, least: float) -> float:
        """Seconds until it holds so much; 0: it does."""
        lacking = least - self.left
        return lacking * MINUTE / per_minute if lacking > _ROUNDING else 0.0


class Limits:
    """The limits of all keys of one gateway; 0 is none."""

    def __init__(self, *, requests_per_minute: int, tokens_per_minute: int) -> None:
        self._limits = {
            "requests": requests_per_minute,
            "tokens": tokens_per_minute,
        }
        self._known: OrderedDict[str, dict[str, Bucket]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def admit(self, who: str, now: float) -> None:
        """Count a request; raises RateLimited, and then counts none."""
        buckets = self._buckets(who, now)
        for name, bucket in buckets.items():
            if wait := bucket.wait_s(self._limits[name], 1.0):
                raise RateLimited(
                    f"more than {self._limits[name]} {name} a minute ([gateway] "
                    f"{name}_per_minute): try again in {math.ceil(wait)} s",
                    limit=name,
                    retry_after=math.ceil(wait),
                )
        self._take(buckets, "requests", 1)

    def spent(self, who: str, tokens: int, now: float) -> None:
        """Count the tokens that a request took."""
        self._take(self._buckets(who, now), "tokens", tokens)

    def _take(self, buckets: dict[str, Bucket], name: str, amount: int) -> None:
        if name in buckets:
            buckets[name] = buckets[name].less(amount)

    def _buckets(self, who: str, now: float) -> dict[str, Bucket]:
        """What is left to somebody, as it is kept."""
        limits = {name: limit for name, limit in self._limits.items() if limit}
        if not limits:
            return {}
        known = self._known.setdefault(who, {})
        for name, limit in limits.items():
            known[name] = known.get(name, Bucket(float(limit), now)).filled(limit, now)
        self._known.move_to_end(who)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return known
