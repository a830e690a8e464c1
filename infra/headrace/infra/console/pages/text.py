"""`/texts/{project}/{rollout}/{attempt}/{part}[/{span}]`: a long text, a range at a time."""

from collections.abc import Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import ask
from headrace.infra.console.render import Page

MOST = 100_000
"""Characters of a page."""
OF_EPISODE = ("task", "expected", "result")
OF_SPAN = ("input", "output")


def text(client: ClickHouse, at: Mapping[str, str], asked: Mapping[str, str]) -> Page | None:
    """A range of a text, from character `from` on; None: there is no such text.

    Raises:
        ValueError: `from` is no number of characters.
    """
    begin = int(asked.get("from") or 0)
    if not 0 <= begin < 2**32:
        raise ValueError(f"from={begin} is no number of characters")
    key = {name: at[name] for name in ("project", "rollout", "attempt", "part")}
    span = at.get("span", "")
    if at["part"] not in (OF_SPAN if span else OF_EPISODE):
        return None
    found = (
        ask(client, "text_of_span", **key, span=span, begin=begin, most=MOST)
        if span
        else ask(client, "text_of_episode", **key, begin=begin, most=MOST)
    )
    if not found.rows:
        return None
    row = found.rows[0]
    episode = {
        "project": at["project"], "rollout_id": at["rollout"], "attempt": at["attempt"],
    }  # fmt: skip
    return Page(
        template="text.html",
        title=f"{at['part'].capitalize()} of {row['kind']} {row['name']}".strip(),
        answers=[found],
        more={"row": row, "episode": episode, "span": span, "begin": begin, "step": MOST},
    )
