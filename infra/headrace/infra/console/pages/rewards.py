"""`/rewards`: what do the rewards look like, by dimension and by rule?"""

from collections.abc import Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import Row, ask
from headrace.infra.console.chart import Chart, Point, chart
from headrace.infra.console.render import Page

MOST_LINES = 4


def rewards(client: ClickHouse, asked: Mapping[str, str]) -> Page:
    """Dimensions by version, how rewards are distributed, rules beside each other, who has none."""
    policy = asked.get("policy", "").strip()
    dimensions, distribution, rules, left_out = (
        ask(client, name, policy=policy)
        for name in ("dimensions", "distribution", "rules", "left_out")
    )
    return Page(
        template="rewards.html",
        title="Rewards",
        answers=[dimensions, distribution, rules, left_out],
        more={
            "filters": {"policy": policy},
            "charts": list(_charts(dimensions.rows)),
            "histograms": _histograms(distribution.rows),
        },
    )


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
