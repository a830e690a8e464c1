"""What the producers wrote down against what the tables and topics have."""

from collections.abc import Iterator
from typing import Any

from benchmarks.faults.ledger import Book
from benchmarks.faults.load import PROJECT

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import KafkaConfig, Tailer
from headrace.schemas import Codec
from headrace.schemas.topics import Topic

_OF = {"project": PROJECT}


def against_ledgers(client: ClickHouse, book: Book) -> dict[str, int]:
    """Counts; those of `WRONG` have to be 0."""
    spans = _rows(
        client,
        "SELECT rollout_id, attempt, span_id FROM spans FINAL WHERE project = {project:String}",
    )
    closed = _rows(
        client,
        "SELECT rollout_id, attempt FROM (SELECT * FROM episodes FINAL WHERE project ="
        " {project:String}) WHERE state = 'closed'",
    )
    credited = _rows(
        client,
        "SELECT m.rollout_id, m.attempt FROM (SELECT arrayJoin(members) AS m FROM groups FINAL"
        " WHERE project = {project:String} AND state = 'final')",
    )
    trained = _rows(
        client,
        "SELECT sample_id, trainer FROM outcomes FINAL WHERE project = {project:String} AND"
        " sample_id != '' AND outcome = 'trained'",
    )
    stored = set(spans)
    return {
        "given": len(book.given),
        "acknowledged": len(book.acknowledged),
        "stored": len(spans),
        "lost": len(book.acknowledged - stored),
        "doubled": len(spans) - len(stored),
        "made_up": len(stored - book.given),
        "whole_attempts": len(book.whole),
        "not_closed": len(book.whole - set(closed)),
        "not_credited": len(book.whole - set(credited)),
        "credited_twice": len(credited) - len(set(credited)),
        "trained": len(trained),
        "trained_twice": len(trained) - len(set(trained)),
    }


WRONG = (
    "lost", "doubled", "made_up", "not_closed", "not_credited", "credited_twice", "trained_twice",
)  # fmt: skip


def two_contents(kafka: KafkaConfig, codec: Codec) -> dict[str, int]:
    """Versions of episodes and groups on their topics, and those that say two things."""
    found: dict[str, int] = {}
    for topic, many in ((Topic.EPISODES, "episodes"), (Topic.CREDITS, "credits")):
        contents: dict[tuple[Any, ...], set[str]] = {}
        records = 0
        for record in _all(kafka, codec, topic):
            for one in record[many]:
                records += 1
                if one["project"] == PROJECT:
                    key = (one.get("rollout_id"), one.get("attempt"), one["group_id"])
                    contents.setdefault((*key, one["version"]), set()).add(repr(one))
        found |= {
            f"{many}_records": records,
            f"{many}_versions": len(contents),
            f"{many}_of_two_contents": sum(len(each) > 1 for each in contents.values()),
        }
    return found


def _all(kafka: KafkaConfig, codec: Codec, topic: str) -> Iterator[dict[str, Any]]:
    tailer = Tailer(kafka, [topic], name="faults.check")
    try:
        while not tailer.caught_up:
            for message in tailer.read(0.5):
                if not message.tick:
                    yield codec.decode(topic, message.value)
    finally:
        tailer.close()


def _rows(client: ClickHouse, sql: str) -> list[tuple[Any, ...]]:
    columns = client.query_arrow(sql, _OF).columns
    return list(zip(*(column.to_pylist() for column in columns), strict=True))
