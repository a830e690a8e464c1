"""`/groups`, `/groups/{project}/{group}`: why did this group teach, or nothing?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import Answer, Row, ask, ask_all
from headrace.infra.console.pages.listing import listed
from headrace.infra.console.render import Page
from headrace.infra.console.strip import strip
from headrace.schemas.vocabulary import GroupOutcome, RowState, Split

FILTERS = ("policy", "split", "state", "outcome")
CHOICES = {
    "split": tuple(Split),
    "state": (RowState.OPEN, RowState.FINAL),
    "outcome": tuple(GroupOutcome),
}


def groups(client: ClickHouse, asked: Mapping[str, str]) -> Page:
    """A page of the list, newest first. Raises ValueError: `at` is no time of the log."""
    found, more = listed(
        client,
        "groups",
        asked,
        filters=FILTERS,
        place={"at": "log_last", "group": "group_id"},
        choices=CHOICES,
    )
    more["strips"] = [strip(_rewards(row)) for row in found.rows]
    return Page(template="groups.html", title="Groups", answers=[found], more=more)


def group(client: ClickHouse, at: Mapping[str, str], _: Mapping[str, str]) -> Page | None:
    """One group under its newest rule: its members, the best beside the worst."""
    key = {"project": at["project"], "group": at["group"]}
    rows = ask(client, "group", **key)
    if not rows.rows:
        return None
    head = rows.rows[0]
    members = ask(client, "members", **key, rule=head["rule"], credit=head["credit"])
    rewarded = [row for row in members.rows if row["reward"] is not None]
    ends = [rewarded[0], rewarded[-1]] if len(rewarded) > 1 else []
    named = list(zip(_ENDS, ends, strict=False))
    said = _said(client, key["project"], named)
    return Page(
        template="group.html",
        title="Group",
        answers=[members, rows, *said],
        more={
            "head": head,
            "ends": [(name, row, answer) for (name, row), answer in zip(named, said, strict=True)],
            "strip": strip([float(str(row["reward"])) for row in rewarded]),
        },
    )


_ENDS = ("best", "worst")


def _said(client: ClickHouse, project: str, named: list[tuple[str, Row]]) -> list[Answer]:
    """The transcript of each, under its name."""
    keys = (
        {"project": project, "rollout": row["rollout_id"], "attempt": row["attempt"]}
        for _, row in named
    )
    answers = ask_all(client, *(("said", key) for key in keys))
    return [replace(one, name=name) for one, (name, _) in zip(answers, named, strict=True)]


def _rewards(row: Row) -> list[float]:
    values = cast("Sequence[float | None]", row["rewards"])
    return [value for value in values if value is not None]
