"""`/`: does it learn, and is anything lost?"""

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import Row, ask
from headrace.infra.console.curve import HEIGHT, WIDTH, points
from headrace.infra.console.render import Page


def overview(client: ClickHouse) -> Page:
    """Episodes by policy, the reward by version, what became of samples, dead letters."""
    names = ("states", "curves", "ledger", "dead_letters", "versions")
    answers = [ask(client, name) for name in names]
    return Page(
        template="overview.html",
        title="Overview",
        answers=answers,
        more={"curves": _curves(answers[1].rows), "width": WIDTH, "height": HEIGHT},
    )


def _curves(rows: list[Row]) -> list[dict[str, object]]:
    """One curve a project, policy and split, in the order of the rows."""
    found: dict[tuple[object, ...], list[tuple[int, float]]] = {}
    for row in rows:
        key = (row["project"], row["policy"], row["split"])
        found.setdefault(key, []).append((int(str(row["version"])), float(str(row["reward"]))))
    return [
        {
            "policy": key[1],
            "split": key[2],
            "points": points([version for version, _ in pairs], [value for _, value in pairs]),
            "first": pairs[0],
            "last": pairs[-1],
            "low": min(value for _, value in pairs),
            "high": max(value for _, value in pairs),
        }
        for key, pairs in found.items()
    ]
