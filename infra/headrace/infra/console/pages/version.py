"""`/policies/{policy}/{version}`: what made this version, and what was it trained on?"""

from collections.abc import Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import ask_all
from headrace.infra.console.render import Page

EPISODES = 200


def version(client: ClickHouse, at: Mapping[str, str], _: Mapping[str, str]) -> Page | None:
    """One version of a policy; None: nobody published it.

    Raises:
        ValueError: the version is no number.
    """
    number = int(at["version"])
    if not 0 <= number < 2**31:
        raise ValueError(f"version {number} cannot be")
    which: dict[str, object] = {"policy": at["policy"], "version": number}
    head, trained, *rest = ask_all(
        client,
        ("version", which),
        ("trained_on", {**which, "limit": EPISODES}),
        *((name, which) for name in ("metrics_beside_parent", "ancestors", "became_of")),
    )
    if not head.rows:
        return None
    return Page(
        template="version.html",
        title=f"Version {number} of {at['policy']}",
        answers=[trained, head, *rest],
        more={"head": head.rows[0], "most": EPISODES},
    )
