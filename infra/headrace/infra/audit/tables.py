"""What ClickHouse is asked in an audit."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.audit.spans import COLUMNS, KEY, Key, Row, rows_of
from headrace.schemas.topics import Topic
from headrace.streams.ports import by_query

_OF_PROJECT = "({project:String} = '' OR project = {project:String})"
_EPISODE = "project, rollout_id, attempt"


class Tables:
    """The tables, of one project or of all (None). Raises ClickHouseUnavailable."""

    def __init__(self, client: ClickHouse, project: str | None) -> None:
        self._client = client
        self._project = project
        self._own: dict[str, object] = {"project": project or ""}

    def at_offsets(self, partition: int, start: int, end: int) -> set[Row]:
        """Rows of `spans`, those that lose to an earlier occurrence included."""
        found = self._client.query_arrow(
            f"SELECT {', '.join(COLUMNS)} FROM spans WHERE partition = {{partition:UInt32}} AND "
            f"offset >= {{start:UInt64}} AND offset < {{end:UInt64}} AND {_OF_PROJECT}",
            {"partition": partition, "start": start, "end": end, **self._own},
        )
        return rows_of(found, self._project)

    def first_offsets(self, rows: Collection[Row]) -> dict[Key, int]:
        """At which offset the table has these spans, as a reader sees it."""
        found: dict[Key, int] = {}
        for some in by_query(sorted({row[:4] for row in rows})):
            projects, rollouts, attempts, spans = (sorted(set(each)) for each in _columns(some))
            answer = self._client.query_arrow(
                f"SELECT {', '.join(KEY)}, offset FROM spans FINAL WHERE"
                " project IN {projects:Array(String)} AND rollout_id IN {rollouts:Array(String)}"
                " AND attempt IN {attempts:Array(String)} AND span_id IN {spans:Array(String)}",
                {
                    "projects": projects,
                    "rollouts": rollouts,
                    "attempts": attempts,
                    "spans": spans,
                },
            ).to_pylist()
            found |= {tuple(row[name] for name in KEY): row["offset"] for row in answer}
        return found

    def stored(self, bounds: Sequence[int]) -> int:
        """Spans below the offset of each partition, each once."""
        return self._count(
            f"SELECT count() AS n FROM spans FINAL WHERE offset < {{bounds:Array(UInt64)}}"
            f"[partition + 1] AND {_OF_PROJECT}",
            bounds=list(bounds),
        )

    def miscounted(self, bounds: Sequence[int]) -> list[dict[str, Any]]:
        """Episodes whose row counts fewer spans than there are below `bounds`, or is not there."""
        return self._rows(
            f"SELECT s.project AS project, s.rollout_id AS rollout_id, s.attempt AS attempt,"
            f" s.n AS spans, e.n_spans AS counted FROM (SELECT {_EPISODE}, count() AS n"
            f" FROM spans FINAL WHERE offset < {{bounds:Array(UInt64)}}[partition + 1]"
            f" AND {_OF_PROJECT} GROUP BY {_EPISODE}) AS s LEFT JOIN (SELECT {_EPISODE}, n_spans"
            f" FROM episodes FINAL WHERE {_OF_PROJECT}) AS e USING ({_EPISODE})"
            " WHERE e.n_spans < s.n SETTINGS join_use_nulls = 0",
            bounds=list(bounds),
        )

    def overcounted(self) -> list[dict[str, Any]]:
        """Episodes whose row counts more spans than there are.

        Rows of `episodes` are read first: their spans were in the table before them.
        """
        claimed = self._rows(
            f"SELECT {_EPISODE}, n_spans FROM episodes FINAL WHERE {_OF_PROJECT}"
            f" ORDER BY {_EPISODE}"
        )
        there = self._rows(
            f"SELECT {_EPISODE}, count() AS n FROM spans FINAL WHERE {_OF_PROJECT}"
            f" GROUP BY {_EPISODE}"
        )
        counts = {(row["project"], row["rollout_id"], row["attempt"]): row["n"] for row in there}
        return [
            {**row, "spans": counts.get((row["project"], row["rollout_id"], row["attempt"]), 0)}
            for row in claimed
            if row["n_spans"] > counts.get((row["project"], row["rollout_id"], row["attempt"]), 0)
        ]

    def episodes(self) -> dict[str, int]:
        """Episodes by their state."""
        rows = self._rows(
            f"SELECT state, count() AS n FROM episodes FINAL WHERE {_OF_PROJECT} GROUP BY state"
        )
        return {str(row["state"]): int(row["n"]) for row in rows}

    def credited(self) -> int:
        """Episodes that a decided group of any rule and method has."""
        return self._count(
            "SELECT uniqExact(project, m.rollout_id, m.attempt) AS n FROM (SELECT project,"
            f" arrayJoin(members) AS m FROM groups FINAL WHERE state = 'final' AND {_OF_PROJECT})"
        )

    def not_in_groups(self) -> list[dict[str, Any]]:
        """Closed episodes that no group has in their version."""
        return self._rows(
            f"SELECT {_EPISODE}, version FROM (SELECT * FROM episodes FINAL WHERE"
            f" state = 'closed' AND {_OF_PROJECT}) AS e LEFT JOIN (SELECT project AS p,"
            " m.rollout_id AS r, m.attempt AS a, max(m.episode_version) AS known FROM"
            f" (SELECT project, arrayJoin(members) AS m FROM groups FINAL WHERE {_OF_PROJECT})"
            " GROUP BY p, r, a) AS g ON e.project = g.p AND e.rollout_id = g.r"
            " AND e.attempt = g.a WHERE g.known < e.version SETTINGS join_use_nulls = 0"
        )

    def outcomes(self) -> dict[str, int]:
        """Credited samples by what became of them."""
        rows = self._rows(
            f"SELECT state, sum(samples) AS n FROM drop_ledger WHERE {_OF_PROJECT} GROUP BY state"
        )
        return {str(row["state"]): int(row["n"]) for row in rows}

    def decided_twice(self) -> list[dict[str, Any]]:
        """Samples that one trainer trained and dropped."""
        return self._rows(
            "SELECT sample_id, trainer FROM outcomes FINAL WHERE sample_id != ''"
            f" AND outcome IN ('trained', 'dropped') AND {_OF_PROJECT}"
            " GROUP BY project, sample_id, trainer HAVING uniqExact(outcome) > 1"
        )

    def outcomes_without_credit(self) -> list[dict[str, Any]]:
        """Trained samples that no group has."""
        return self._rows(
            "SELECT sample_id, trainer FROM (SELECT * FROM outcomes FINAL WHERE sample_id != ''"
            f" AND outcome = 'trained' AND {_OF_PROJECT}) AS o LEFT ANTI JOIN (SELECT project,"
            " s.sample_id AS sample_id FROM (SELECT project, arrayJoin(samples) AS s FROM groups"
            f" FINAL WHERE {_OF_PROJECT})) AS g USING (project, sample_id)"
        )

    def dropped_ranges(self) -> int:
        """Records that the log lost and somebody accepted."""
        return self._count(
            "SELECT sum(last_offset + 1 - first_offset) AS n FROM drops FINAL"
            " WHERE topic = {topic:String}",
            topic=Topic.SPANS,
        )

    def _rows(self, sql: str, **parameters: object) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._client.query_arrow(
            sql, {**self._own, **parameters}
        ).to_pylist()
        return rows

    def _count(self, sql: str, **parameters: object) -> int:
        return int(self._rows(sql, **parameters)[0]["n"] or 0)


def _columns(keys: Sequence[Key]) -> Iterator[tuple[str, ...]]:
    yield from zip(*keys, strict=True)
