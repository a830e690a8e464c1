"""Looks at the log and the tables, and says what follows from them."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from headrace.connectors.clickhouse import ClickHouse, ClickHouseUnavailable
from headrace.infra.canary.moves import Move, Standing, canary_of, next_move
from headrace.infra.canary.rewards import rollouts_since
from headrace.infra.canary.verdict import Rules, Verdict, judged
from headrace.infra.errors import LogUnavailable
from headrace.infra.launch.traffic import Served, TrafficLog
from headrace.infra.settings import Settings

logger = logging.getLogger(__name__)

REMINDER = 60
"""Looks after which a trial is told of again, though nothing is new."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Report:
    """What a look at a policy found and did."""

    policy: str
    serving: int
    """The version that the policy's name stands for; -1: the newest."""
    canary: int | None
    verdict: Verdict | None
    """On the canary; None: there is none, or ClickHouse does not answer."""
    move: Move | None
    trouble: str = ""


class Trials:
    """Trials of the new versions of some policies. Not for sharing between threads.

    It remembers nothing but what it read: a restart goes on where it was. Raises LogUnavailable.
    """

    def __init__(
        self, settings: Settings, policies: Iterable[str], *, rules: Rules, share: float
    ) -> None:
        if not 0 < share < 1:
            raise ValueError(f"the share is {share:g}: give one between 0 and 1")
        self._policies = tuple(policies)
        self._rules = rules
        self._share = share
        self._log = TrafficLog(settings, self._policies)
        self._client = ClickHouse(settings.clickhouse_config)

    def close(self) -> None:
        """Leave the broker and ClickHouse."""
        self._log.close()
        self._client.close()

    def look(self) -> list[Report]:
        """One look at each policy, and the move that follows."""
        self._log.read()
        return [self._look(policy) for policy in self._policies]

    def _look(self, policy: str) -> Report:
        served = self._log.served[policy]
        canary = canary_of(served.traffic)
        verdict, trouble = None, ""
        if canary is not None and canary in served.book.versions:
            try:
                verdict = self._judge(served, canary)
            except ClickHouseUnavailable as error:
                trouble = f"nothing is judged while ClickHouse does not answer: {error}"
        standing = Standing(
            traffic=served.traffic, parents=served.parents, here=served.book.versions.keys()
        )
        move = next_move(standing, verdict, self._share)
        if move is not None and not self._say(served, move):
            move = None  # looked at again, by what was said meanwhile
        return Report(
            policy=policy,
            serving=standing.traffic.version,
            canary=canary,
            verdict=verdict,
            move=move,
            trouble=trouble,
        )

    def _judge(self, served: Served, canary: int) -> Verdict:
        rollouts = rollouts_since(
            self._client,
            served.traffic.policy,
            served.since,
            lambda rollout_id: served.book.share_of(rollout_id) == canary,
            (served.traffic.version, canary),
        )
        return judged(rollouts, self._rules)

    def _say(self, served: Served, move: Move) -> bool:
        """Write a move, unless something else was said since it was decided."""
        before = served.traffic
        self._log.read()
        if served.traffic is not before:
            return False
        self._log.say(move.traffic)
        self._log.read()
        return True


def watch(
    trials: Trials, every_s: float, stop: threading.Event, tell: Callable[[Report], None]
) -> None:
    """Look until stopped, once at least; tell what is new, and now and then that nothing is.

    Raises LogUnavailable if the log is away at the last look; before that it is waited for.
    """
    last: dict[str, tuple[object, ...]] = {}
    looks, away = 0, ""
    while True:
        try:
            reports, away = trials.look(), ""
        except LogUnavailable as error:
            if stop.is_set():
                raise
            if str(error) != away:
                logger.warning("waits: %s", error)
            reports, away = [], str(error)
        for report in reports:
            seen = (report.canary, _count(report.verdict), report.trouble)
            is_due = report.canary is not None and looks % REMINDER == 0
            if report.move is not None or is_due or last.get(report.policy) != seen:
                tell(report)
            last[report.policy] = seen
        looks += 1
        if stop.wait(every_s):
            return


def _count(verdict: Verdict | None) -> int:
    return -1 if verdict is None else verdict.comparisons
