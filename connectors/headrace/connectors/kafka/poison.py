"""How many records of a partition may be refused. Pure: time is the log's."""

from dataclasses import dataclass

from headrace.connectors.kafka.offsets import Partition
from headrace.connectors.settings import key


@dataclass(kw_only=True, slots=True, frozen=True)
class PoisonSettings:
    """The keys of `[streams]` that the trainer heeds too."""

    poison_limit: int = key(100, least=0)
    """Unreadable records of a partition within the window before it is halted
    ([operations](operations.md)); 0: any number."""
    poison_window_ms: int = key(600_000, least=1)
    """The window, in milliseconds of log time."""

    @property
    def poison(self) -> "PoisonLimit":
        """How many records of a partition may be refused before it is halted."""
        return PoisonLimit(records=self.poison_limit, window_ms=self.poison_window_ms)


@dataclass(kw_only=True, slots=True, frozen=True)
class PoisonLimit:
    """How many refused records are put up with.

    A few unreadable records are somebody's mistake and become dead letters; more than `records`
    of them within `window_ms` mean that something is wrong with what is written or with the
    registry, and that going on would move the stream into the dead-letter topic.
    """

    records: int = 100
    """Refused records of a partition that are put up with; 0: any number."""
    window_ms: int = 600_000
    """Log time, in milliseconds, over which they are counted."""

    def __post_init__(self) -> None:
        if self.records < 0 or self.window_ms <= 0:
            raise ValueError(
                f"[streams] poison_limit is {self.records} and poison_window_ms "
                f"{self.window_ms}: give a number of records (0: no limit) and a positive time"
            )


class PoisonCount:
    """Counts refused records in a sliding window of log time, per partition.

    A set of offsets: a record that is read and refused again counts once.
    """

    def __init__(self, limit: PoisonLimit) -> None:
        self.limit = limit
        self._times: dict[Partition, dict[int, int]] = {}

    def __contains__(self, where: Partition) -> bool:
        return where in self._times

    def begin(self, where: Partition, earlier: dict[int, int]) -> None:
        """Count from what was refused before: offset -> log time in milliseconds."""
        newest = sorted(earlier.items())[-self.limit.records - 1 :]
        self._times[where] = dict(newest)

    def refused(self, where: Partition, offset: int, log_time: int) -> bool:
        """Count a refused record; whether its partition is past the limit now."""
        if not self.limit.records:
            return False
        times = self._times.setdefault(where, {})
        times[offset] = log_time
        if len(times) > self.limit.records + 1:
            del times[min(times)]
        oldest = times[min(times)]
        return len(times) > self.limit.records and log_time - oldest <= self.limit.window_ms
