"""`/rollouts`: where is each rollout, and why does it not move on?"""

from collections.abc import Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import Row
from headrace.infra.console.pages.listing import listed
from headrace.infra.console.reasons import REASONS, WAITS
from headrace.infra.console.render import Page
from headrace.schemas.vocabulary import RolloutState, Split

FILTERS = ("policy", "version", "split", "agent", "state", "reason", "signal")
CHOICES = {"split": tuple(Split), "state": tuple(RolloutState)}


def rollouts(client: ClickHouse, asked: Mapping[str, str]) -> Page:
    """A page of the list, the newest first. Raises ValueError: `at` is no time of the log."""
    found, more = listed(
        client,
        "rollouts",
        asked,
        filters=FILTERS,
        place={"at": "at", "rollout": "rollout_id"},
        choices=CHOICES,
    )
    more["why"] = [why(row) for row in found.rows]
    return Page(template="rollouts.html", title="Rollouts", answers=[found], more=more)


def why(row: Row) -> str:
    """What a rollout waits for, or what its end means; '': it has none to tell."""
    state, reason = str(row["state"]), str(row["reason"])
    if state == RolloutState.DROPPED:
        return REASONS.get(reason, ("", ""))[0]
    return WAITS.get(reason) or WAITS.get(state, "")
