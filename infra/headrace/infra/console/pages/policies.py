"""`/policies`, `/policies/{policy}`: how do the versions of a policy differ?"""

from collections.abc import Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import ask_all
from headrace.infra.console.chart import SMALL, Chart, Point, chart
from headrace.infra.console.pages.overview import reward_charts
from headrace.infra.console.render import Page

CURATED = (
    "entropy", "kl_k3", "ess", "clip_fraction", "logp_gap", "grad_norm", "staleness_mean",
    "loss", "seconds", "rows", "dropped",
)  # fmt: skip
VERSIONS = 500


def policies(client: ClickHouse, _: Mapping[str, str]) -> Page:
    """Every policy with its newest version, and its reward by version."""
    found, curves = ask_all(client, ("policies", {}), ("curves", {}))
    return Page(
        template="policies.html",
        title="Policies",
        answers=[found, curves],
        more={"charts": list(reward_charts(curves.rows))},
    )


def policy(client: ClickHouse, at: Mapping[str, str], _: Mapping[str, str]) -> Page | None:
    """One policy: its curves and its versions; None: it has neither."""
    name = at["policy"]
    versions, curves, metrics = ask_all(
        client,
        ("versions", {"policy": name, "limit": VERSIONS}),
        ("policy_curves", {"policy": name}),
        ("policy_metrics", {"policy": name}),
    )
    if not versions.rows and not curves.rows:
        return None
    lines: dict[str, list[Point]] = {}
    for row in metrics.rows:
        point = Point(x=float(str(row["version"])), y=float(str(row["value"])))
        lines.setdefault(str(row["metric"]), []).append(point)
    drawn = [chart(name, {name: lines[name]}, SMALL) for name in CURATED if name in lines]
    return Page(
        template="policy.html",
        title=f"Policy {name}",
        answers=[versions, curves, metrics],
        more={
            "name": name,
            "rewards": [one for _, one in reward_charts(curves.rows)],
            "metrics": [one for one in drawn if isinstance(one, Chart)],
            "others": sorted(set(lines) - set(CURATED) - {"reward"}),
        },
    )
