"""Two databases' rows of a derived table: which of the one the other lacks or has otherwise."""

from dataclasses import dataclass

from headrace.connectors.clickhouse import ClickHouse


@dataclass(kw_only=True, slots=True, frozen=True)
class Derived:
    """A table that the log makes. `key`: which rows are one.

    `version`: higher ones replace lower ones; '': a row never changes. `settled`: which rows are
    functions of the log; of the others only that they are there is, for how far a take reached
    decides when an open row is written. '': none of its columns is compared.
    """

    name: str
    key: tuple[str, ...]
    version: str = ""
    settled: str = "true"


_EPISODE = ("project", "rollout_id", "attempt")
DERIVED: dict[str, tuple[Derived, ...]] = {
    "assemble": (
        Derived(name="spans", key=(*_EPISODE, "span_id")),
        Derived(name="repeated_batches", key=(*_EPISODE, "producer", "episode_batch")),
        Derived(name="episodes", key=_EPISODE, version="version", settled="state = 'closed'"),
    ),
    "credit": (
        Derived(
            name="groups",
            key=("project", "group_id", "rule", "credit"),
            version="row_version",
            settled="state = 'final'",
        ),
    ),
    "sink": (
        Derived(name="tasks", key=("project", "rollout_id")),
        Derived(name="outcomes", key=("project", "rollout_id", "sample_id", "trainer", "outcome")),
        Derived(name="policies", key=("policy", "version")),
        Derived(name="drops", key=("topic", "partition", "first_offset", "consumer_group")),
        # A stage that reads a bad record again sets it aside again, at another time.
        Derived(name="dead_letters", key=("topic", "partition", "offset"), settled="false"),
    ),
}
"""By stage the tables that it fills."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Compared:
    """`rows` of the table as it was; `missing` of them (or of a lower version) in the rebuilt one,
    `changed`; `added`: rows that the rebuilt one has beyond them. Hashes are of what is settled and
    is in both under one version."""

    table: str
    rows: int
    missing: int
    changed: int
    added: int
    hash_was: str
    hash_now: str

    @property
    def equal(self) -> bool:
        """Whether the rebuilt table has every row, and as it was."""
        return not self.missing and not self.changed and self.hash_was == self.hash_now


def compare(client: ClickHouse, one: Derived, *, rebuilt: str) -> Compared:
    """Compare a table of the client's database with that of another database.

    Raises ClickHouseUnavailable.
    """
    key, version = ", ".join(one.key), one.version or "0"

    def rows(database: str) -> str:
        return (
            f"SELECT {key}, toInt64({version}) AS v, ({one.settled}) AS settled, 1 AS there,"
            f" if(settled, sipHash64(toString(tuple(*))), 0) AS h FROM {database}.{one.name} FINAL"
        )

    same = "now.there AND was.settled AND now.v = was.v"
    (row,) = client.query(
        "SELECT count() AS rows,"
        " countIf(NOT now.there OR (was.settled AND now.v < was.v)) AS missing,"
        f" countIf({same} AND now.h != was.h) AS changed, countIf(now.there) AS there,"
        f" hex(groupBitXorIf(was.h, {same})) AS hash_was,"
        f" hex(groupBitXorIf(now.h, {same})) AS hash_now"
        f" FROM ({rows(client.config.database)}) AS was LEFT JOIN ({rows(rebuilt)}) AS now"
        f" USING ({key}) SETTINGS join_use_nulls = 0"
    )
    (total,) = client.query(f"SELECT count() AS rows FROM {rebuilt}.{one.name} FINAL")
    numbers = {name: int(str(row[name])) for name in ("rows", "missing", "changed", "there")}
    return Compared(
        table=one.name,
        rows=numbers["rows"],
        missing=numbers["missing"],
        changed=numbers["changed"],
        added=int(str(total["rows"])) - numbers["there"],
        hash_was=str(row["hash_was"]),
        hash_now=str(row["hash_now"]),
    )
