"""`/rollouts`: where is each rollout, and why does it not move on?"""

from collections.abc import Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import Row, ask
from headrace.infra.console.pages.listing import NEWEST, filters_of, kept, place_of
from headrace.infra.console.reasons import REASONS, WAITS
from headrace.infra.console.render import Page
from headrace.schemas.vocabulary import RolloutState, Split

ROWS = 50
FILTERS = ("policy", "version", "split", "agent", "state", "reason", "signal")
CHOICES = {"split": tuple(Split), "state": tuple(RolloutState)}


def rollouts(client: ClickHouse, asked: Mapping[str, str]) -> Page:
    """A page of the list, the newest first. Raises ValueError: `at` is no time of the log."""
    filters, at = filters_of(asked, FILTERS), place_of(asked)
    found = ask(client, "rollouts", **filters, at=at, rollout=asked.get("rollout", ""), limit=ROWS)
    older = ""
    if len(found.rows) == ROWS:
        last = found.rows[-1]
        older = kept(filters, at=last["at"], rollout=last["rollout_id"])
    return Page(
        template="rollouts.html",
        title="Rollouts",
        answers=[found],
        more={
            "filters": filters,
            "kept": kept(filters),
            "choices": CHOICES,
            "older": older,
            "first_page": at == NEWEST,
            "why": [why(row) for row in found.rows],
        },
    )


def why(row: Row) -> str:
    """What a rollout waits for, or what its end means; '': it has none to tell."""
    state, reason = str(row["state"]), str(row["reason"])
    if state == RolloutState.DROPPED:
        return REASONS.get(reason, ("", ""))[0]
    return WAITS.get(reason) or WAITS.get(state, "")
