"""`/compare?policy=P&a=0&b=10`: is a version better, and on which tasks?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import cast

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import Answer, Row, ask
from headrace.infra.console.cells import BETTER, WORSE
from headrace.infra.console.difference import Piece, differences, unmarked
from headrace.infra.console.render import Page
from headrace.infra.paired import SOLVED, paired

SHOWN = 100
MARKED = 20
"""Tasks whose answers are compared word by word."""
SIDES = ("a", "b")
Key = tuple[object, object, object]
"""Project, rollout and attempt."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Side:
    """What a version said to a task: of each call its pieces, and how many characters are shown of
    how many."""

    calls: int
    said: list[tuple[list[Piece], int, int]]


def compare(client: ClickHouse, asked: Mapping[str, str]) -> Page:
    """Two versions on the tasks that both answered.

    Raises:
        ValueError: a version or the bound is no number.
    """
    choices = ask(client, "comparable")
    chosen = _chosen(choices.rows, asked)
    answers: list[Answer] = [choices]
    more: dict[str, object] = {"chosen": chosen, "tested": None, "pairs": [], "flips": False}
    if chosen:
        pairs = ask(client, "compared", **chosen)
        flips = asked.get("only", "") == "flips"
        answers = [pairs, choices]
        shown = [row for row in pairs.rows if not flips or row["verdict"] in (BETTER, WORSE)]
        more |= {"flips": flips, "pairs": shown[:SHOWN], "left": max(0, len(shown) - SHOWN)}
        said = _outputs(client, shown[:SHOWN])
        outputs = {(row["project"], row["rollout_id"], row["attempt"]): row for row in said.rows}
        more["said"] = [
            _sides(row, outputs, marked=place < MARKED) for place, row in enumerate(shown[:SHOWN])
        ]
        answers.append(said)
        if pairs.rows:
            before, after = (
                [float(str(row[side])) >= float(str(chosen["solved"])) for row in pairs.rows]
                for side in ("reward_a", "reward_b")
            )
            more["tested"] = paired(before, after)
    more["options"] = _options(choices.rows)
    return Page(template="compare.html", title="Compare versions", answers=answers, more=more)


def _sides(row: Row, outputs: Mapping[Key, Row], *, marked: bool) -> dict[str, Side]:
    """Both answers to a task, call beside call; marked: words of one side alone are its own."""
    rows = [
        outputs.get((row["project"], row[f"rollout_{side}"], row[f"attempt_{side}"]), {})
        for side in SIDES
    ]
    told = [cast("Sequence[tuple[str, int]]", one.get("outputs", [])) for one in rows]
    pieces = [
        differences(a, b) if marked and a and b else unmarked(a, b)
        for (a, _), (b, _) in zip_longest(*told, fillvalue=("", 0))
    ]
    return {
        side: Side(
            calls=int(str(rows[place].get("calls", 0))),
            said=[
                (pair[place], len(text), characters)
                for pair, (text, characters) in zip(pieces, told[place], strict=False)
            ],
        )
        for place, side in enumerate(SIDES)
    }


def _outputs(client: ClickHouse, pairs: list[Row]) -> Answer:
    """What the models said in the episodes that are shown."""
    projects = list(dict.fromkeys(row["project"] for row in pairs))
    rollouts = [row[side] for row in pairs for side in ("rollout_a", "rollout_b")]
    return ask(client, "outputs", projects=projects, rollouts=rollouts)


def _options(rows: list[Row]) -> dict[str, list[object]]:
    policies = dict.fromkeys(str(row["policy"]) for row in rows)
    versions = sorted({int(str(row["version"])) for row in rows})
    return {"policy": list(policies), "version": list(versions)}


def _chosen(rows: list[Row], asked: Mapping[str, str]) -> dict[str, object]:
    """What is compared: as asked, else first and last version of the policy most was asked of."""
    evaluated = [row for row in rows if row["split"] == "eval"] or rows
    policy = asked.get("policy", "") or next((str(row["policy"]) for row in evaluated), "")
    if not policy:
        return {}
    splits = {str(row["split"]) for row in rows if row["policy"] == policy}
    split = asked.get("split", "") or ("eval" if "eval" in splits else "train")
    own = [
        int(str(row["version"]))
        for row in rows
        if row["policy"] == policy and row["split"] == split
    ]
    first, last = (min(own), max(own)) if own else (0, 1)
    return {
        "policy": policy,
        "split": split,
        "a": int(asked.get("a") or first),
        "b": int(asked.get("b") or last),
        "solved": float(asked.get("solved") or SOLVED),
    }
