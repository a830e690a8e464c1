"""What of `headrace.episodes` a replay reads: whole groups, however late their episodes came.

A time alone would cut groups: a reward that came yesterday makes a new version of an episode of
last week, and says nothing of the other members of its group. Which groups have an episode since
the time and began before it is asked of the live rows, as far as the live stage has acknowledged
the log; what lies behind that is looked through.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import (
    KafkaConfig,
    LogRecord,
    Offsets,
    Partition,
    Stretch,
    partitions_of,
    read_stretch,
)
from headrace.schemas import Codec
from headrace.schemas.topics import StageGroup
from headrace.streams.credit.arrivals import TOPIC, readable_arrivals
from headrace.streams.credit.state import GroupKey
from headrace.streams.ports import by_query

_STRADDLING = (
    "SELECT project, group_id, min(log_first) AS first FROM groups FINAL"
    " WHERE log_first < {since:Int64} AND log_last >= {since:Int64} GROUP BY project, group_id"
)
_FIRST = (
    "SELECT project, group_id, min(log_first) AS first FROM groups FINAL"
    " WHERE project IN {projects:Array(String)} AND group_id IN {groups:Array(String)}"
    " GROUP BY project, group_id"
)


@dataclass(kw_only=True, slots=True, frozen=True)
class Extent:
    """The stretch of log to read, and which of its episodes count."""

    stretch: Stretch
    since: int = 0
    """Log time in milliseconds; 0: all."""
    began_before: frozenset[GroupKey] = frozenset()
    """Groups with an episode since then that may have begun before."""

    def covers(self, record: LogRecord, group: GroupKey) -> bool:
        """Whether an episode of a group, found in a record, counts."""
        return record.log_time >= self.since or group in self.began_before


def extent_of(
    kafka: KafkaConfig,
    clickhouse: ClickHouse,
    codec: Codec,
    *,
    since: int = 0,
    until: int = 0,
    credit_group: str = StageGroup.CREDIT,
) -> Extent:
    """What to read for the groups that had an episode from `since` to before `until`.

    since, until: log times in milliseconds; 0: as far as the log goes now.

    Raises KafkaUnavailable, RegistryUnavailable or ClickHouseUnavailable.
    """
    offsets = Offsets(kafka)
    partitions = [(TOPIC, number) for number in range(partitions_of(kafka, TOPIC))]
    starts = offsets.starts(partitions)
    ends = offsets.ends(partitions)
    if until:
        ends = {**ends, **_found(offsets.since(partitions, until))}
    if not since:
        return Extent(stretch=Stretch(starts=starts, ends=ends))
    committed = offsets.committed(credit_group, partitions)
    known = {where: max(committed.get(where, 0), start) for where, start in starts.items()}
    began = _rows(clickhouse, _STRADDLING, {"since": since})
    ahead = _groups_since(kafka, codec, Stretch(starts=known, ends=ends), since)
    for some in by_query(sorted(ahead)):
        projects, groups = (sorted(set(each)) for each in zip(*some, strict=True))
        rows = _rows(clickhouse, _FIRST, {"projects": projects, "groups": groups})
        began |= {key: first for key, first in rows.items() if key in ahead}
    first = min(began.values(), default=since)
    begin = {**ends, **_found(offsets.since(partitions, min(first, since)))}
    for where, start in starts.items():
        begin[where] = max(start, min(begin[where], known[where]))
    return Extent(
        stretch=Stretch(starts=begin, ends=ends),
        since=since,
        began_before=frozenset(began) | ahead,
    )


def _rows(
    clickhouse: ClickHouse, sql: str, parameters: Mapping[str, object]
) -> dict[GroupKey, int]:
    rows = clickhouse.query_arrow(sql, parameters).to_pylist()
    return {(row["project"], row["group_id"]): row["first"] for row in rows}


def _groups_since(
    kafka: KafkaConfig, codec: Codec, stretch: Stretch, since: int
) -> frozenset[GroupKey]:
    """The groups that a stretch has episodes of since a log time."""
    found = set[GroupKey]()
    for records in read_stretch(kafka, TOPIC, stretch, name="headrace.replay"):
        for record in records:
            if record.log_time >= since:
                found |= {arrival.key for arrival in readable_arrivals(codec, record)}
    return frozenset(found)


def _found(offsets: Mapping[Partition, int]) -> dict[Partition, int]:
    """Without the partitions that have nothing since then."""
    return {where: offset for where, offset in offsets.items() if offset >= 0}
