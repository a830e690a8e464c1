"""`/`: does it learn, and is anything lost?"""

from collections.abc import Iterable, Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import Row, ask_all
from headrace.infra.console.chart import Chart, Point, chart
from headrace.infra.console.render import Page

VERSIONS = 12


def overview(client: ClickHouse, _: Mapping[str, str]) -> Page:
    """Episodes by policy, the reward by version, what became of samples, dead letters."""
    curves, ledger, states, versions, recent, letters = ask_all(
        client,
        ("curves", {}),
        ("ledger", {}),
        ("states", {}),
        ("versions", {"policy": "", "limit": VERSIONS}),
        ("recent", {}),
        ("dead_letters", {}),
    )
    return Page(
        template="overview.html",
        title="Overview",
        answers=[states, curves, ledger, versions, recent, letters],
        more={
            "charts": list(reward_charts(curves.rows)),
            "totals": _totals(states.rows, ledger.rows, letters.rows),
            "balances": _balances(ledger.rows),
        },
    )


def reward_charts(rows: Iterable[Row]) -> Iterable[tuple[str, Chart]]:
    """A chart a policy: its splits as curves with their 95 % intervals."""
    found: dict[str, dict[str, list[Point]]] = {}
    for row in rows:
        point = Point(
            x=_float(row["version"]),
            y=_float(row["reward"]),
            low=_float(row["low"]),
            high=_float(row["high"]),
        )
        found.setdefault(str(row["policy"]), {}).setdefault(str(row["split"]), []).append(point)
    for policy, splits in found.items():
        drawn = chart(f"Reward of {policy} by version", dict(sorted(splits.items(), reverse=True)))
        if drawn is not None:
            yield policy, drawn


def _totals(states: list[Row], ledger: list[Row], letters: list[Row]) -> dict[str, int]:
    of_state = {
        state: sum(_int(row["samples"]) for row in ledger if row["state"] == state)
        for state in ("trained", "dropped", "pending")
    }
    counted = {
        name: sum(_int(row[name]) for row in states)
        for name in ("episodes", "open", "errors", "failed_or_incomplete", "calls", "tokens")
    }
    return {**counted, **of_state, "letters": sum(_int(row["records"]) for row in letters)}


def _balances(ledger: list[Row]) -> list[dict[str, object]]:
    """By policy: samples by state, as counts and as shares of a bar of 1,000."""
    found: dict[str, dict[str, int]] = {}
    for row in ledger:
        counts = found.setdefault(str(row["policy"]), {"trained": 0, "dropped": 0, "pending": 0})
        counts[str(row["state"])] = counts.get(str(row["state"]), 0) + _int(row["samples"])
    made: list[dict[str, object]] = []
    for policy, counts in found.items():
        whole, x, parts = max(1, sum(counts.values())), 0.0, []
        for state, count in counts.items():
            width = 1000 * count / whole
            parts.append((state, count, round(x, 1), round(width, 1)))
            x += width
        made.append({"policy": policy, "parts": parts, "total": sum(counts.values())})
    return made


def _int(value: object) -> int:
    return int(str(value))


def _float(value: object) -> float:
    return float("nan") if value is None else float(str(value))
