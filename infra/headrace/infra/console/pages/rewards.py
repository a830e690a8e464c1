"""`/rewards`: what do the rewards look like, by dimension and by rule?"""

import json
from collections.abc import Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import Row, ask, ask_all
from headrace.infra.console.chart import Chart, Point, chart
from headrace.infra.console.render import Page

MOST_LINES = 4
FLIPPED = 50
Pair = tuple[str, str]
"""A rule, and the method by which its rewards become credit."""


def rewards(client: ClickHouse, asked: Mapping[str, str]) -> Page:
    """Dimensions by version, how rewards are spread, two rules beside each other, who has none.

    Raises:
        ValueError: `a` or `b` names no rule and method.
    """
    policy = asked.get("policy", "").strip()
    rules = ask(client, "rules", policy=policy)
    pairs = list(dict.fromkeys((str(row["rule"]), str(row["credit"])) for row in rules.rows))
    sides = [_pair(asked.get(side, "")) for side in ("a", "b")]
    a, b = (side or known for side, known in zip(sides, _first_two(pairs), strict=True))
    dimensions, distribution, left_out, *compared = ask_all(
        client,
        *((name, {"policy": policy}) for name in ("dimensions", "distribution", "left_out")),
        *(_compared(policy, a, b) if a and b else ()),
    )
    return Page(
        template="rewards.html",
        title="Rewards",
        answers=[dimensions, distribution, rules, *compared, left_out],
        more={
            "filters": {"policy": policy},
            "pairs": [(json.dumps(pair), pair) for pair in pairs],
            "sides": {"a": a, "b": b},
            "most": FLIPPED,
            "charts": list(_charts(dimensions.rows)),
            "histograms": _histograms(distribution.rows),
        },
    )


def _compared(policy: str, a: Pair, b: Pair) -> list[tuple[str, dict[str, object]]]:
    """The questions what would change if `b` were in force instead of `a`."""
    both = {"rule_a": a[0], "credit_a": a[1], "rule_b": b[0], "credit_b": b[1], "policy": policy}
    return [("rules_compared", {**both}), ("rules_flipped", {**both, "limit": FLIPPED})]


def _first_two(pairs: list[Pair]) -> list[Pair | None]:
    """What is compared unasked: the first that is there, and the next."""
    return [*pairs, None, None][:2] if len(pairs) > 1 else [None, None]


def _pair(text: str) -> Pair | None:
    """A rule and a method as a URL has them: a list of two, in JSON."""
    if not text:
        return None
    try:
        rule, credit = json.loads(text)
    except (ValueError, TypeError):
        rule = credit = None
    if not isinstance(rule, str) or not isinstance(credit, str):
        raise ValueError(f"{text} names no rule and method")
    return rule, credit


def _charts(rows: list[Row]) -> list[tuple[str, Chart]]:
    """One chart a project, policy and split; beyond the first names the table has them."""
    several = len({row["project"] for row in rows}) > 1
    found: dict[str, dict[str, list[Point]]] = {}
    for row in rows:
        title = f"{row['policy']} · {row['split']}" + (f" · {row['project']}" if several else "")
        lines = found.setdefault(title, {})
        name = str(row["name"]) + (" (span)" if row["origin"] == "span" else "")
        if name in lines or len(lines) < MOST_LINES:
            point = Point(x=float(str(row["version"])), y=float(str(row["mean"])))
            lines.setdefault(name, []).append(point)
    drawn = ((title, chart(title, lines)) for title, lines in found.items())
    return [(title, one) for title, one in drawn if one is not None]


def _histograms(rows: list[Row]) -> list[dict[str, object]]:
    found: dict[str, list[tuple[float, int]]] = {}
    for row in rows:
        bars = found.setdefault(f"{row['policy']} · {row['split']}", [])
        bars.append((float(str(row["reward_from"])), int(str(row["episodes"]))))
    made: list[dict[str, object]] = []
    for title, bars in found.items():
        low, high = min(at for at, _ in bars), max(at for at, _ in bars)
        most, span = max(count for _, count in bars), max(0.05, high - low + 0.05)
        width = max(1.0, 480 * 0.05 / span - 1)
        drawn = [
            (round(480 * (at - low) / span, 1), round(60 * count / most, 1), at, count)
            for at, count in bars
        ]
        made.append({"title": title, "bars": drawn, "width": round(width, 1), "low": low,
                     "high": round(high + 0.05, 2)})  # fmt: skip
    return made
