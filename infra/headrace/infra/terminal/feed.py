"""What `headrace tasks` does between its options and its last line."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from headrace.connectors.kafka import KafkaClientError
from headrace.connectors.tasks import (
    Pace,
    TaskItem,
    TaskSource,
    TaskSourceConfig,
    progress_text,
    waited_for,
)
from headrace.infra.errors import LogUnavailable
from headrace.infra.terminal.live import LiveLine
from headrace.schemas import RegistryUnavailable

logger = logging.getLogger(__name__)

AT_A_TIME = 100
FOLLOW = -1  # the version of a task that pins none


@dataclass(kw_only=True, slots=True, frozen=True)
class Requested:
    """What came of it."""

    rollouts: int
    """Rollouts that were asked for."""
    of: int | None
    """… that were to be asked for; None: as many as there is time for."""


@contextmanager
def opened(config: TaskSourceConfig) -> Iterator[TaskSource]:
    """A task source; raises LogUnavailable where Kafka or the registry does not answer."""
    source = TaskSource(config)
    try:
        source.enter()
        yield source
    except (KafkaClientError, RegistryUnavailable) as error:
        raise LogUnavailable(str(error)) from error
    finally:
        source.close()


def planned(
    items: Sequence[TaskItem], epochs: int, groups: int | None
) -> tuple[Iterator[TaskItem], int | None]:
    """The tasks to draw, and how many there are; None: without end.

    Args:
        items: of the file.
        epochs: times through it; 0: for ever.
        groups: draw no more than so many; None: no limit.
    """
    rounds: Iterable[Sequence[TaskItem]] = (
        itertools.repeat(items, epochs) if epochs else itertools.repeat(items)
    )
    draw = itertools.chain.from_iterable(rounds)
    total = len(items) * epochs if epochs else None
    if groups is None:
        return draw, total
    return itertools.islice(draw, groups), min(groups, total or groups)


def evaluate(
    source: TaskSource,
    items: Sequence[TaskItem],
    version: int,
    stop: threading.Event,
    line: LiveLine,
) -> Requested:
    """Ask for one rollout of each item, until `stop` is set.

    Raises KafkaUnavailable or RegistryUnavailable.
    """
    asked = 0
    while asked < len(items) and not stop.is_set():
        line.update(f"{asked} of {len(items)} rollouts asked for")
        asked += len(source.send_eval(items[asked : asked + AT_A_TIME], version))
    return Requested(rollouts=asked, of=len(items))


class Training:
    """Asks for groups of rollouts; tells how far it is: in a line, and to `tell` at each new
    version and where a pause begins or ends."""

    def __init__(
        self,
        config: TaskSourceConfig,
        total: int | None,
        line: LiveLine,
        tell: Callable[[Pace], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._total = total
        self._line = line
        self._tell = tell
        self._clock = clock
        self._last: Pace | None = None
        self._changed_at = clock()

    def run(self, source: TaskSource, draw: Iterator[TaskItem], stop: threading.Event) -> Requested:
        """Ask for a group of each task as the trainer makes room, until `stop` is set.

        Raises KafkaClientError.
        """
        source.run(draw, stop, self.follow)
        size = self._config.group_size
        of = None if self._total is None else self._total * size
        return Requested(rollouts=source.pace.groups * size, of=of)

    def follow(self, pace: Pace) -> None:
        """Take in how far the source is."""
        if pace.paused and (self._last is None or not self._last.paused):
            logger.warning(
                "%s. Pausing: one group at a time is asked for, ever less often, and all go on "
                "when one is trained. Mend it and start this again, or wait",
                pace.paused,
            )
        if self._last is None or replace(pace, next_try_s=0) != replace(self._last, next_try_s=0):
            before = self._last or Pace()
            if pace.version > before.version or bool(pace.paused) != bool(before.paused):
                self._tell(pace)
            self._last, self._changed_at = pace, self._clock()
        waits = waited_for(pace, self._config.policy, self._clock() - self._changed_at)
        self._line.update(f"{progress_text(pace, self._total)}; {waits}")
