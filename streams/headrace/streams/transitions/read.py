"""The view `transitions` by the page: some rollouts at a time, or a part of a long one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from headrace.connectors.clickhouse import ClickHouse

COLUMNS = (
    "project", "rollout_id", "attempt", "step", "span_id", "kind", "name", "agent", "parent_id",
    "caller_id", "state", "action", "observation", "reward", "next_id", "terminal", "status",
    "policy", "run_versions", "prompt_tokens", "completion_tokens", "rule", "credit", "advantage",
    "trainable", "reason", "episode_reward", "started_at", "ended_at",
)  # fmt: skip
"""What a batch has; docs/transitions.md says what each is."""
TOKENS = ("prompt_base", "prompt_base_length", "prompt_ids", "sampled_ids", "logprobs")
"""What it has as well where tokens are asked for."""

PAGE_BYTES = 16_000_000
"""Of a batch: pages grow and shrink towards it."""
_ROLLOUTS = 2_000
_FIRST_ROWS, _MOST_ROWS = 500, 50_000


@dataclass(kw_only=True, slots=True, frozen=True)
class Wanted:
    """Which transitions: of one project, of closed episodes.

    `policy`: of its episodes alone. `since`: log time in milliseconds at which an episode ended, or
    later. `rule`, `credit`: under which names they are rewarded; a transition that was rewarded
    under several stands once for each, and where nothing is named under all of them. `tokens`:
    with token ids and log-probabilities.
    """

    project: str = "default"
    policy: str = ""
    since: int = 0
    rule: str = ""
    credit: str = ""
    tokens: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return COLUMNS + TOKENS if self.tokens else COLUMNS

    def _parameters(self) -> dict[str, object]:
        return {
            "project": self.project, "policy": self.policy, "since": self.since,
            "rule": self.rule, "credit": self.credit,
        }  # fmt: skip


_CLOSED = (
    "FROM (SELECT * FROM episodes FINAL WHERE project = {project:String}"
    " AND rollout_id > {after:String})"
    " WHERE state = 'closed' AND log_last >= {since:Int64}"
    " AND ({policy:String} = '' OR policy = {policy:String})"
)


@dataclass(kw_only=True, slots=True, frozen=True)
class _Page:
    """Rollouts from `first` to `last`, steps from `begin` to before `end`."""

    first: str
    last: str
    begin: int = 0
    end: int = 1 << 62


def count(clickhouse: ClickHouse, wanted: Wanted) -> int:
    """How many calls and tool executions the episodes have, about: for a progress bar.

    Raises ClickHouseUnavailable.
    """
    (row,) = clickhouse.query(
        f"SELECT sum(calls) + sum(tools) AS steps {_CLOSED}", {**wanted._parameters(), "after": ""}
    )
    return int(str(row["steps"]))


def read(clickhouse: ClickHouse, wanted: Wanted) -> Iterator[pa.RecordBatch]:
    """Transitions as Arrow batches of `wanted.columns`, by rollout, attempt and step.

    A batch has about 16 MB, and a rollout that is larger comes in several: memory is bounded by the
    largest single transitions. Each has rollouts that were closed when it was read.

    Raises ClickHouseUnavailable: what was read is right, the rest may be asked for again.
    """
    rows = _FIRST_ROWS
    after = ""
    while sizes := _sizes(clickhouse, wanted, after):
        after = sizes[-1][0]
        while sizes:
            page, sizes = _next_page(sizes, rows)
            table = _fetch(clickhouse, wanted, page)
            if table.num_rows:
                rows = _fitting(table)
                yield from table.combine_chunks().to_batches()


def _fitting(table: pa.Table) -> int:
    """How many rows like these make a page."""
    each = max(1, int(table.nbytes) // int(table.num_rows))
    return min(_MOST_ROWS, max(1, PAGE_BYTES // each))


def _sizes(clickhouse: ClickHouse, wanted: Wanted, after: str) -> list[tuple[str, int, int]]:
    """The next rollouts, the step at which each is to go on, and how many it has."""
    rows = clickhouse.query_arrow(
        f"SELECT rollout_id, sum(calls + tools) AS steps {_CLOSED}"
        f" GROUP BY rollout_id ORDER BY rollout_id LIMIT {_ROLLOUTS}",
        {**wanted._parameters(), "after": after},
    ).to_pylist()
    return [(row["rollout_id"], 0, row["steps"]) for row in rows]


def _next_page(
    sizes: Sequence[tuple[str, int, int]], rows: int
) -> tuple[_Page, list[tuple[str, int, int]]]:
    """A page of about so many rows, and what is left. Pure."""
    first, begin, steps = sizes[0]
    if begin or steps > rows:
        end = begin + rows
        page = _Page(first=first, last=first, begin=begin, end=end)
        # An attempt has a numbering of its own: none has more steps than the rollout.
        rest = [(first, end, steps)] if end <= steps else []
        return page, [*rest, *sizes[1:]]
    taken = total = 0
    for _, _, steps in sizes:
        if total + steps > rows and taken:
            break
        total += steps
        taken += 1
    return _Page(first=first, last=sizes[taken - 1][0]), list(sizes[taken:])


def _fetch(clickhouse: ClickHouse, wanted: Wanted, page: _Page) -> pa.Table:
    return clickhouse.query_arrow(
        f"SELECT {', '.join(wanted.columns)} FROM transitions"
        " WHERE project = {project:String}"
        " AND rollout_id >= {first:String} AND rollout_id <= {last:String}"
        " AND step >= {begin:Int64} AND step < {end:Int64}"
        " AND ({rule:String} = '' OR rule = {rule:String})"
        " AND ({credit:String} = '' OR credit = {credit:String})"
        " AND (rollout_id, attempt) IN (SELECT rollout_id, attempt FROM"
        " (SELECT * FROM episodes FINAL WHERE project = {project:String}"
        " AND rollout_id >= {first:String} AND rollout_id <= {last:String})"
        " WHERE state = 'closed' AND log_last >= {since:Int64}"
        " AND ({policy:String} = '' OR policy = {policy:String}))"
        " ORDER BY rollout_id, attempt, step, rule, credit",
        {
            **wanted._parameters(), "first": page.first, "last": page.last, "begin": page.begin,
            "end": page.end,
        },
    )  # fmt: skip
