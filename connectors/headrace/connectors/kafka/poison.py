"""How many records of a partition may be refused. Pure: time is the log's."""

from dataclasses import dataclass

from headrace.connectors.kafka.offsets import Partition
from headrace.connectors.settings import check, key


@dataclass(kw_only=True, slots=True, frozen=True)
class PoisonSettings:
    """How many records that cannot be read are accepted: keys of `[streams]` that every reader of
    the log uses, the trainer, the gateway, runners and task sources too.

    A few unreadable records are somebody's mistake and become dead letters; more than
    `poison_limit` of them within `poison_window_ms` mean that something is wrong with what is
    written or with the registry, and that going on would move the stream to the dead letters.
    """

    poison_limit: int = key(100, least=0)
    """Unreadable records of a partition within the window before it is halted
    ([operations](operations.md)); 0: any number."""
    poison_window_ms: int = key(600_000, least=1)
    """The window, in milliseconds of log time."""
    unknown_schema_s: float = key(30.0, least=0)
    """Seconds that the registry may not know a record's schema before the record is set aside."""

    def __post_init__(self) -> None:
        check(self, "streams")


class PoisonCount:
    """Counts refused records in a sliding window of log time, per partition.

    A set of offsets: a record that is read and refused again counts once.
    """

    def __init__(self, limit: PoisonSettings) -> None:
        self.limit = limit
        self._times: dict[Partition, dict[int, int]] = {}

    def __contains__(self, where: Partition) -> bool:
        return where in self._times

    def begin(self, where: Partition, earlier: dict[int, int]) -> None:
        """Count from what was refused before: offset -> log time in milliseconds."""
        newest = sorted(earlier.items())[-self.limit.poison_limit - 1 :]
        self._times[where] = dict(newest)

    def forget(self, where: Partition) -> None:
        """Count from 0 again."""
        self._times.pop(where, None)

    def refused(self, where: Partition, offset: int, log_time: int) -> bool:
        """Count a refused record; whether its partition is past the limit now."""
        if not self.limit.poison_limit:
            return False
        times = self._times.setdefault(where, {})
        times[offset] = log_time
        if len(times) > self.limit.poison_limit + 1:
            del times[min(times)]
        oldest = times[min(times)]
        return (
            len(times) > self.limit.poison_limit
            and log_time - oldest <= self.limit.poison_window_ms
        )
