"""The test of the claim: held-out questions, asked of the first and of the last version."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from headrace.connectors.clickhouse import ClickHouse, ClickHouseUnavailable
from headrace.connectors.tasks import TaskItem, TaskSource
from headrace.infra.demo import queries
from headrace.infra.errors import InfraError
from headrace.infra.paired import PairedTest, paired
from headrace.schemas.vocabulary import SpanStatus

TEST_S = 420.0
POLL_S = 1.0


@dataclass(kw_only=True, slots=True, frozen=True)
class Transcript:
    """One question, and what the two versions answered."""

    question: str
    expected: str
    before: str
    after: str


@dataclass(kw_only=True, slots=True, frozen=True)
class HeldOut:
    """The outcome of the test."""

    first: int
    last: int
    paired: PairedTest
    unended: tuple[int, int]
    """Answers of each version that count as wrong since their agent failed or was too slow."""
    transcripts: tuple[Transcript, ...]


def evaluate(
    source: TaskSource,
    client: ClickHouse,
    items: Sequence[TaskItem],
    versions: tuple[int, int],
    policy: str,
    right: float,
    console: Console,
) -> HeldOut:
    """Run held-out tasks pinned to the first and the last version; same seeds, never trained.

    An answer is right if its reward is at least `right`.

    Raises InfraError if the answers do not come within some minutes.
    """
    return outcome(client, asked(source, client, items, versions, policy, console), versions, right)


def asked(
    source: TaskSource,
    client: ClickHouse,
    items: Sequence[TaskItem],
    versions: tuple[int, int],
    policy: str,
    console: Console,
) -> list[Mapping[str, Any]]:
    """Rows of EVALUATED: what both versions made of the items. Raises InfraError as `evaluate`."""
    rows: list[Mapping[str, Any]] = []
    for number, version in enumerate(versions, start=1):
        # One after the other: together each would wait for the other's, and its deadline is near.
        source.send_eval(items, version)
        rows = _await_answers(client, policy, number * len(items), console)
    return rows


def outcome(
    client: ClickHouse, rows: Sequence[Mapping[str, Any]], versions: tuple[int, int], right: float
) -> HeldOut:
    """The test of rows of EVALUATED."""
    first, last = versions
    before, after = (list(right_by_task(rows, version, right).values()) for version in versions)
    answers = {
        version: {str(row["input"]): row for row in rows if row["version"] == version}
        for version in versions
    }
    order = sorted(answers[first])
    shown = _interesting(order, before, after)
    return HeldOut(
        first=first,
        last=last,
        paired=paired(before, after),
        unended=(unended(rows, first), unended(rows, last)),
        transcripts=tuple(
            _transcript(client, answers[first][key], answers[last][key]) for key in shown
        ),
    )


def right_by_task(rows: Sequence[Mapping[str, Any]], version: int, right: float) -> dict[str, bool]:
    """Which tasks a version solved, by the task's input and in its order.

    `rows` are those of EVALUATED; an answer is right if its reward is at least `right`.
    """
    return {
        str(row["input"]): row["reward"] is not None and bool(row["reward"] >= right)
        for row in sorted(rows, key=lambda row: str(row["input"]))
        if row["version"] == version
    }


def unended(rows: Sequence[Mapping[str, Any]], version: int) -> int:
    """Answers of a version, of rows of EVALUATED, whose agent failed or was too slow."""
    return sum(row["version"] == version and row["status"] != SpanStatus.OK for row in rows)


def _await_answers(
    client: ClickHouse, policy: str, wanted: int, console: Console
) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    end = time.monotonic() + TEST_S
    with Progress(
        TextColumn("  held-out questions"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=wanted)
        while True:
            with suppress(ClickHouseUnavailable):  # restarting: asked again
                rows = queries.ask(client, queries.EVALUATED, policy=policy)
            bar.update(task, completed=len(rows))
            if len(rows) >= wanted:
                return rows
            if time.monotonic() > end:
                raise InfraError(
                    f"{len(rows)} of {wanted} held-out answers came within {TEST_S:.0f} s: "
                    "`headrace status` shows which part is behind"
                )
            time.sleep(POLL_S)


def _interesting(
    order: Sequence[str], before: Sequence[bool], after: Sequence[bool], count: int = 3
) -> list[str]:
    """Questions that changed first: what was learnt, then what was lost."""
    rank = {(False, True): 0, (True, False): 1, (False, False): 2, (True, True): 3}
    pairs = sorted(zip(order, before, after, strict=True), key=lambda t: (rank[t[1], t[2]], t[0]))
    return [key for key, _, _ in pairs[:count]]


def _transcript(
    client: ClickHouse, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Transcript:
    task = json.loads(before["input"])
    return Transcript(
        question=str(task["question"]),
        expected=str(before["expected"]),
        before=_said(client, before),
        after=_said(client, after),
    )


def _said(client: ClickHouse, row: Mapping[str, Any]) -> str:
    rows = queries.ask(
        client, queries.TRANSCRIPT, rollout_id=row["rollout_id"], attempt=row["attempt"]
    )
    return " → ".join(str(row["output"]) for row in rows) or "(no call)"
