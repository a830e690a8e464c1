"""Groups that were open when rule or method changed: what their episodes were. Blocking."""

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from headrace.connectors.kafka import (
    KafkaConfig,
    LogLost,
    Offsets,
    Partition,
    Stretch,
    partitions_of,
    read_stretch,
)
from headrace.schemas import Codec
from headrace.streams.credit.arrivals import TOPIC, readable_arrivals
from headrace.streams.credit.core import Arrival
from headrace.streams.credit.state import GroupKey
from headrace.streams.credit.store import GroupStore

logger = logging.getLogger(__name__)


class LeftOpen:
    """Reads again, for the rule and method of now, the episodes of groups that the ones before left
    open and that have no row by those of now: their episodes were acknowledged, and come no more.

    It reads as far as `group`, the stage's consumer group, has acknowledged and no further: what
    lies behind comes anyway, in its order. What the log no longer holds is told and left as it is.
    """

    def __init__(self, kafka: KafkaConfig, codec: Codec, store: GroupStore, *, group: str) -> None:
        self._kafka = kafka
        self._codec = codec
        self._store = store
        self._group = group

    def __call__(self, partitions: Sequence[Partition]) -> list[Arrival]:
        """Raises KafkaUnavailable, RegistryUnavailable or ClickHouseUnavailable."""
        began: dict[Partition, dict[GroupKey, int]] = defaultdict(dict)
        for number, key, log_first in self._store.left_open([number for _, number in partitions]):
            began[TOPIC, number][key] = log_first
        if not began:
            return []
        stretch, wanted = self._stretch(began)
        name = "headrace.credit.open"
        try:
            return [
                arrival
                for records in read_stretch(self._kafka, TOPIC, stretch, name=name)
                for record in records
                for arrival in readable_arrivals(self._codec, record)
                if arrival.key in wanted
            ]
        except LogLost as error:
            logger.warning("groups that the rule before left open stay as they are: %s", error)
            return []

    def _stretch(
        self, began: dict[Partition, dict[GroupKey, int]]
    ) -> tuple[Stretch, frozenset[GroupKey]]:
        """What to read, and for which groups: those whose first episode the log still holds."""
        offsets = Offsets(self._kafka)
        every = [(TOPIC, number) for number in range(partitions_of(self._kafka, TOPIC))]
        held = offsets.starts(every)
        ends = held | offsets.committed(self._group, began)
        starts, wanted, gone = dict(ends), set[GroupKey](), 0
        for where, groups in began.items():
            oldest = sorted(groups, key=groups.__getitem__)
            first = _first_held(offsets, where, [groups[key] for key in oldest], held[where])
            gone += first
            wanted.update(oldest[first:])
            if first < len(oldest):
                begin = offsets.from_time([where], groups[oldest[first]])[where]
                starts[where] = min(starts[where], begin)
        if gone:
            logger.warning(
                "%d groups were open when rule or method changed, and the log no longer holds "
                "their first episodes: they end without them",
                gone,
            )
        return Stretch(starts=starts, ends=ends), frozenset(wanted)


def _first_held(offsets: Offsets, where: Partition, times: Sequence[int], held: int) -> int:
    """From which of these log times on, in their order, the log (which begins at the offset `held`)
    still holds all. Where it begins with the very record, there may have been one before."""
    return bisect_left(
        times, True, key=lambda at: held == 0 or offsets.from_time([where], at)[where] > held
    )
