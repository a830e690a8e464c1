"""A replay's credit onto `headrace.credits`, as a revision of what the live stage sent.

A group's version is the sum of its members' versions. A member that is revised raises it by 2 or
more, one that joins by 3 or more, so the number after a version is never one of a live record: a
replay's Credits bear it. Trainers take the higher version, so they take the revision, and whatever
comes live after it. A group that is decided stays decided; what it would have got is recorded.

What is on the topic is not sent again: the topic says what that is, so a run that was killed, or a
second one, sends what is lacking and nothing else.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import KafkaConfig, Offsets, Stretch, partitions_of, read_stretch
from headrace.schemas import Codec, Credits, SchemaError, Unavailable
from headrace.schemas.topics import Topic
from headrace.streams.credit.config import CreditSettings
from headrace.streams.credit.core import Held
from headrace.streams.credit.delivery import CreditsWriter
from headrace.streams.credit.settle import credits_of
from headrace.streams.credit.shares import shares_of
from headrace.streams.credit.table import SCHEMA, held_of
from headrace.streams.replay.names import TABLE, Names

GROUPS_AT_ONCE = 500

_Key = tuple[str, str, str, int]
"""Project, group, policy and version of a Credits record."""

_FINAL = (
    f"SELECT {', '.join(SCHEMA.names)} FROM {TABLE} FINAL"
    " WHERE (project, group_id) > ({project:String}, {group:String})"
    " AND rule = {rule:String} AND credit = {credit:String} AND state = 'final'"
    " ORDER BY project, group_id LIMIT {limit:UInt32}"
)


def publish(
    kafka: KafkaConfig,
    clickhouse: ClickHouse,
    codec: Codec,
    *,
    settings: CreditSettings,
    names: Names,
    progress: Callable[[int], None] = lambda sent: None,
) -> int:
    """Send the credit of the final groups under `names` that the topic lacks; returns how many
    Credits that were.

    Raises KafkaUnavailable, RegistryUnavailable or ClickHouseUnavailable: run it again.
    """
    there = _published(kafka, codec, names)
    writer = CreditsWriter(kafka, codec)
    sent = 0
    try:
        for held in _final_groups(clickhouse, names):
            lacking = [
                share
                for one in held
                for share in revision_of(one, settings, names.rule)
                if _key(share) not in there
            ]
            writer.deliver(lacking)
            sent += len(lacking)
            progress(sent)
    finally:
        writer.close()
    return sent


def revision_of(held: Held, settings: CreditSettings, rule: str) -> Iterator[Credits]:
    """A group's credit by policy, under the version between the live one and the next."""
    credits = credits_of(held.state, settings.method, rule)
    trained = frozenset(settings.roles.trained)
    return shares_of(held.state, replace(credits, version=credits.version + 1), trained)


def _key(credits: Credits) -> _Key:
    return credits.project, credits.group_id, credits.policy, credits.version


def _published(kafka: KafkaConfig, codec: Codec, names: Names) -> set[_Key]:
    """What the topic has under these names."""
    offsets = Offsets(kafka)
    partitions = [(Topic.CREDITS, n) for n in range(partitions_of(kafka, Topic.CREDITS))]
    stretch = Stretch(starts=offsets.starts(partitions), ends=offsets.ends(partitions))
    found = set()
    for records in read_stretch(kafka, Topic.CREDITS, stretch, name="headrace.replay"):
        for record in records:
            try:
                batch = codec.decode(Topic.CREDITS, record.value)
            except Unavailable:
                raise
            except SchemaError:  # nothing of ours: a trainer makes a dead letter of it
                continue
            found |= {
                (one["project"], one["group_id"], one["policy"], one["version"])
                for one in batch["credits"]
                if (one["rule"], one["credit"]) == (names.rule, names.credit)
            }
    return found


def _final_groups(clickhouse: ClickHouse, names: Names) -> Iterator[list[Held]]:
    """The final groups under some names, in the order of the table."""
    last = ("", "")
    while True:
        rows = clickhouse.query_arrow(
            _FINAL,
            {
                "project": last[0],
                "group": last[1],
                "rule": names.rule,
                "credit": names.credit,
                "limit": GROUPS_AT_ONCE,
            },
        ).to_pylist()
        if not rows:
            return
        last = rows[-1]["project"], rows[-1]["group_id"]
        yield [held_of(row) for row in rows]
