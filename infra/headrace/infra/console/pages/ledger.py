"""`/ledger`: is anything lost? Every rollout and every sample has an end, and each end a reason."""

from collections.abc import Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import Row, ask_all
from headrace.infra.console.reasons import REASONS
from headrace.infra.console.render import Page

SHOWN = 100


def ledger(client: ClickHouse, asked: Mapping[str, str]) -> Page:
    """The equation of the rollouts, the samples by reason, and the newest that were dropped."""
    chosen = {"policy": asked.get("policy", "").strip(), "reason": asked.get("reason", "").strip()}
    balance, reasons, dropped = ask_all(
        client,
        ("balance", {}),
        ("reasons", {"policy": chosen["policy"]}),
        ("dropped", {**chosen, "limit": SHOWN}),
    )
    return Page(
        template="ledger.html",
        title="Ledger",
        answers=[reasons, balance, dropped],
        more={
            "filters": chosen,
            "equations": _equations(balance.rows),
            "meanings": REASONS,
            "most": SHOWN,
        },
    )


def _equations(rows: list[Row]) -> list[dict[str, object]]:
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for row in rows:
        terms = found.setdefault((str(row["policy"]), str(row["split"])), [])
        terms.append((str(row["state"]), int(str(row["rollouts"]))))
    return [
        {
            "policy": policy,
            "split": split,
            "terms": terms,
            "total": sum(count for _, count in terms),
        }
        for (policy, split), terms in found.items()
    ]
