"""Where groups are kept: the `groups` table of ClickHouse. Blocking; the stage retries in place."""

from collections.abc import Collection, Sequence

import pyarrow as pa

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.clickhouse.tables import schema_of
from headrace.schemas.spans import Array
from headrace.schemas.vocabulary import RowState
from headrace.streams.credit.core import Change, Held
from headrace.streams.credit.running import Running
from headrace.streams.credit.state import GroupKey
from headrace.streams.credit.table import SCHEMA, TABLE, held_of, rows_of
from headrace.streams.known import NUMBER
from headrace.streams.ports import by_query
from headrace.streams.reward import Rule

_COLUMNS = ", ".join(SCHEMA.names)
_OF_METHOD = "rule = {rule:String} AND credit = {credit:String}"


class GroupStore:
    """The groups of one rule and one credit method; of the table `groups`, or one laid out as it.

    Every call raises ClickHouseUnavailable (do the same again) or ClickHouseRejected.
    """

    def __init__(
        self, clickhouse: ClickHouse, *, rule: str, credit: str, table: str = TABLE
    ) -> None:
        self._clickhouse = clickhouse
        self._names: dict[str, object] = {"rule": rule, "credit": credit}
        self._table = table
        self._rule = rule
        self._credit = credit

    def look_up(self, keys: Collection[GroupKey]) -> list[Held]:
        """The stored ones among these groups."""
        wanted = set(keys)
        found = []
        for some in by_query(sorted(wanted)):
            rows = self._clickhouse.query_arrow(
                f"SELECT {_COLUMNS} FROM {self._table} FINAL"
                " WHERE project IN {projects:Array(String)}"
                f" AND group_id IN {{groups:Array(String)}} AND {_OF_METHOD}",
                {
                    "projects": sorted({project for project, _ in some}),
                    "groups": [group for _, group in some],
                    **self._names,
                },
            ).to_pylist()
            found += [held_of(row) for row in rows if (row["project"], row["group_id"]) in wanted]
        return found

    def open_groups(self, partitions: Sequence[int]) -> list[tuple[int, GroupKey, int]]:
        """Partition, group and `close_by` of the open groups of some partitions."""
        rows = self._clickhouse.query_arrow(
            # The filter on `state` comes after FINAL: a final row may outvote an open one.
            "SELECT partition, project, group_id, close_by FROM"
            f" (SELECT * FROM {self._table} FINAL WHERE partition IN {{partitions:Array(UInt32)}}"
            f" AND {_OF_METHOD}) WHERE state = '{RowState.OPEN}'",
            {"partitions": list(partitions), **self._names},
        ).to_pylist()
        return [
            (row["partition"], (row["project"], row["group_id"]), row["close_by"]) for row in rows
        ]

    def left_open(self, partitions: Sequence[int]) -> list[tuple[int, GroupKey, int]]:
        """Partition, group and first log time of the groups of some partitions that are open and of
        which other rules or methods have seen a newer version (the sum of its episodes') than
        these; of several others that of the newest counts."""
        some = f"(SELECT * FROM {self._table} FINAL WHERE partition IN {{partitions:Array(UInt32)}}"
        is_open = f"state = '{RowState.OPEN}'"
        rows = self._clickhouse.query_arrow(
            "SELECT before.partition AS partition, before.project AS project,"
            " before.group_id AS group_id, before.log_first AS log_first FROM"
            f" {some} AND NOT ({_OF_METHOD})"
            f" ORDER BY version DESC, {is_open} LIMIT 1 BY project, group_id) AS before"
            f" LEFT JOIN {some} AND {_OF_METHOD}) AS now"  # without a row its version is 0
            " ON before.project = now.project AND before.group_id = now.group_id"
            f" WHERE before.version > now.version AND (before.{is_open}"
            f" OR (now.version > 0 AND now.{is_open}))",
            {"partitions": list(partitions), **self._names},
        ).to_pylist()
        return [
            (row["partition"], (row["project"], row["group_id"]), row["log_first"]) for row in rows
        ]

    def running_means(self, partitions: Sequence[int]) -> list[tuple[int, str, Running]]:
        """Partition, project and last place of each running mean of some partitions."""
        rows = self._clickhouse.query_arrow(
            "SELECT partition, project, running.policy AS policy, max(running.count) AS count,"
            " argMax(running.after, running.count) AS after"
            f" FROM {self._table} FINAL WHERE partition IN {{partitions:Array(UInt32)}}"
            f" AND {_OF_METHOD} AND running.count > 0 GROUP BY partition, project, policy",
            {"partitions": list(partitions), **self._names},
        ).to_pylist()
        return [
            (
                row["partition"],
                row["project"],
                Running(policy=row["policy"], count=row["count"], after=row["after"]),
            )
            for row in rows
        ]

    def other_code(self, rule: Rule) -> list[str]:
        """Digests of other code that results under the rule's id are of."""
        rows = self._clickhouse.query(
            "SELECT DISTINCT digest FROM rules WHERE rule = {rule:String}"
            " AND digest != {digest:String} ORDER BY digest",
            {"rule": rule.id, "digest": rule.digest},
        )
        return [str(row["digest"]) for row in rows]

    def note_code(self, rule: Rule) -> None:
        """Keep which code the rule's id stands for; nothing to do where it is known."""
        known = self._clickhouse.query(
            "SELECT 1 FROM rules WHERE rule = {rule:String} AND digest = {digest:String} LIMIT 1",
            {"rule": rule.id, "digest": rule.digest},
        )
        if not known:
            row = {"rule": rule.id, "digest": rule.digest, "text": rule.text}
            schema = schema_of("rules")
            self._clickhouse.insert_arrow("rules", pa.Table.from_pylist([row], schema))

    def note_start(self) -> None:
        """Keep that credits are by this rule and method from now on; nothing to do where they were.

        The views of what is current go by it.
        """
        last = self._clickhouse.query(
            "SELECT number, rule, credit FROM rule_changes"
            " ORDER BY number DESC, rule, credit LIMIT 1"
        )
        number = int(str(last[0]["number"])) if last else 0
        if last and (last[0]["rule"], last[0]["credit"]) == (self._rule, self._credit):
            return
        row = {"number": number + 1, "rule": self._rule, "credit": self._credit}
        self._clickhouse.insert_arrow(
            "rule_changes", pa.Table.from_pylist([row], schema_of("rule_changes"))
        )

    def numbers(self, partition: int) -> Array:
        """The groups of a partition by the numbers of their `text_of`, uint64 [n]."""
        found: Array = (
            self._clickhouse.query_arrow(
                f"SELECT {NUMBER}(concat(project, '/', group_id)) AS number FROM {self._table}"
                f" WHERE partition = {{partition:UInt32}} AND {_OF_METHOD}",
                {"partition": partition, **self._names},
            )
            .column("number")
            .to_numpy()
        )
        return found

    def rows(self, changes: Sequence[Change]) -> pa.Table:
        """The rows of changed groups as they are now."""
        return rows_of(changes, self._rule, self._credit)

    def write(self, rows: pa.Table) -> None:
        """Write rows as one block."""
        self._clickhouse.insert_arrow(self._table, rows)


def text_of(key: GroupKey) -> str:
    """A group's key as one text; no id contains a slash."""
    return "/".join(key)


def groups_of_rollout(
    clickhouse: ClickHouse, project: str, rollout_id: str
) -> list[dict[str, object]]:
    """The rows of `groups` that hold episodes of a rollout: one for each rule and credit method.

    Raises ClickHouseUnavailable or ClickHouseRejected.
    """
    rows: list[dict[str, object]] = clickhouse.query_arrow(
        f"SELECT {_COLUMNS} FROM {TABLE} FINAL WHERE project = {{project:String}}"
        " AND arrayExists(m -> m.rollout_id = {rollout:String}, members)"
        " ORDER BY group_id, rule, credit",
        {"project": project, "rollout": rollout_id},
    ).to_pylist()
    return rows
