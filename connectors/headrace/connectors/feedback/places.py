"""Where the episode is that feedback is about: by its id, or by the id of an answer.

An answer's id holds its call's span id and not its rollout, by which spans are kept apart. The
gateway remembers its last answers; older ones ClickHouse has.
"""

from collections import OrderedDict
from dataclasses import dataclass

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig
from headrace.connectors.feedback.errors import BadFeedback
from headrace.schemas.ids import ID_PATTERN, span_of_response

MOST_REMEMBERED = 20_000


@dataclass(kw_only=True, slots=True, frozen=True)
class Place:
    """An episode, and the call of it that was meant ('' for none)."""

    project: str
    rollout_id: str
    attempt: str
    span_id: str = ""

    @property
    def episode(self) -> str:
        """`rollout/attempt`."""
        return f"{self.rollout_id}/{self.attempt}"


class Answered:
    """The places of a gateway's last answers, by the span ids of their calls."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._places: OrderedDict[str, Place] = OrderedDict()

    def add(self, place: Place) -> None:
        """Remember an answer."""
        self._places[place.span_id] = place
        while len(self._places) > self._most:
            self._places.popitem(last=False)

    def find(self, project: str, response_id: str) -> Place | None:
        """The place of an answer of a project, if it is remembered."""
        place = self._places.get(span_of_response(response_id))
        return place if place is not None and place.project == project else None


class Places:
    """Places that ClickHouse has. Blocking; raises ClickHouseUnavailable or ClickHouseRejected.

    Any thread may ask.
    """

    def __init__(self, config: ClickHouseConfig) -> None:
        self._client = ClickHouse(config)

    def of_response(self, project: str, response_id: str) -> Place | None:
        """Where an answer was given: one of the gateway's, or of an upstream's."""
        rows = self._query(
            "SELECT project, rollout_id, attempt, span_id FROM spans WHERE project = "
            "{project:String} AND kind = 'call' AND response_id = {id:String} "
            "ORDER BY span_id = {first:String} DESC LIMIT 1",  # of several choices the first
            {"project": project, "id": response_id, "first": span_of_response(response_id)},
        )
        return Place(**rows[0]) if rows else None

    def of_episode(self, place: Place) -> Place | None:
        """`place`, if it is an episode."""
        rows = self._query(
            "SELECT attempt FROM episodes WHERE project = {project:String} AND rollout_id = "
            "{rollout:String} AND attempt = {attempt:String} LIMIT 1",
            {"project": place.project, "rollout": place.rollout_id, "attempt": place.attempt},
        )
        return place if rows else None

    def close(self) -> None:
        """Close the connections to ClickHouse."""
        self._client.close()

    def _query(self, sql: str, parameters: dict[str, object]) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = self._client.query_arrow(sql, parameters).to_pylist()
        return rows


def place_of_episode(project: str, episode: str) -> Place:
    """The place that `rollout/attempt` names; raises BadFeedback."""
    rollout_id, _, attempt = episode.partition("/")
    if not ID_PATTERN.fullmatch(rollout_id) or not ID_PATTERN.fullmatch(attempt):
        raise BadFeedback("episode", f"is {episode[:80]!r}: write ROLLOUT/ATTEMPT")
    return Place(project=project, rollout_id=rollout_id, attempt=attempt)
