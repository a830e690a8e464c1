"""What a replay changed, by SQL: the queries can be shown, and asked again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.connectors.clickhouse import ClickHouse
from headrace.streams.replay.names import TABLE, Names

LIVE = "groups"
BIGGEST = 10

_MEMBERS = """
    SELECT project, group_id, policy, split, version, outcome, m.rollout_id AS rollout_id,
        m.attempt AS attempt, m.status AS status, m.reward AS reward, m.advantage AS advantage,
        m.version_min AS policy_version,
        if(m.reward IS NULL, 0, rank() OVER (PARTITION BY project, group_id, isNull(m.reward)
            ORDER BY m.reward DESC)) AS place
    FROM (SELECT *, arrayJoin(members) AS m FROM {TABLE} FINAL
        WHERE rule = {RULE} AND credit = {CREDIT} AND state = 'final')"""

_BOTH = """WITH was AS ({WAS}
), now AS ({NOW}
)
"""

_JOINED = """FROM now INNER JOIN was ON was.project = now.project AND was.group_id = now.group_id
    AND was.rollout_id = now.rollout_id AND was.attempt = now.attempt AND was.version = now.version
"""

_EPISODES = f"""SELECT
    count() AS episodes, uniqExact(now.project, now.group_id) AS groups,
    countIf(now.reward IS DISTINCT FROM was.reward) AS reward_changed,
    countIf(now.advantage != was.advantage) AS advantage_changed,
    countIf(sign(now.advantage) != sign(was.advantage)) AS sign_changed,
    countIf(now.place != was.place) AS rank_changed,
    countIf(now.outcome != was.outcome) AS outcome_changed
{_JOINED}"""

_BY_POLICY = f"""SELECT
    now.policy AS policy, now.policy_version AS version, count() AS episodes,
    avg(was.reward) AS reward_was, avg(now.reward) AS reward_now
{_JOINED}GROUP BY policy, version ORDER BY policy, version"""

_BIGGEST = f"""SELECT
    now.project AS project, now.group_id AS group_id, now.rollout_id AS rollout_id,
    now.attempt AS attempt, was.reward AS reward_was, now.reward AS reward_now,
    was.advantage AS advantage_was, now.advantage AS advantage_now
{_JOINED}WHERE now.advantage != was.advantage OR now.reward IS DISTINCT FROM was.reward
ORDER BY abs(now.advantage - was.advantage) DESC, project, group_id, rollout_id, attempt
LIMIT {BIGGEST}"""

_GROUPS = """SELECT count() AS replayed, countIf(was.version = now.version) AS compared,
    countIf(was.version = 0) AS not_live, countIf(was.version > now.version) AS gone_on
FROM (SELECT DISTINCT project, group_id, version FROM now) AS now
LEFT JOIN (SELECT DISTINCT project, group_id, version FROM was) AS was
    ON was.project = now.project AND was.group_id = now.group_id
SETTINGS join_use_nulls = 0"""


@dataclass(kw_only=True, slots=True, frozen=True)
class Query:
    """A question by its name, as `headrace sql` takes it."""

    name: str
    sql: str


@dataclass(kw_only=True, slots=True)
class Comparison:
    """What changed from `was` to `now`.

    `groups`: replayed, those of equal membership that were compared, those that have no live
    result, and those that went on after the replay. `episodes`: of the compared groups, how many
    changed in what. `by_policy`: mean rewards by policy and its version. `biggest`: the episodes
    whose advantages changed most.
    """

    was: Names
    now: Names
    queries: Sequence[Query] = ()
    groups: Mapping[str, Any] = field(default_factory=dict)
    episodes: Mapping[str, Any] = field(default_factory=dict)
    by_policy: Sequence[Mapping[str, Any]] = ()
    biggest: Sequence[Mapping[str, Any]] = ()


def queries(was: Names, now: Names, *, among: str = LIVE) -> list[Query]:
    """The queries of a comparison of a replay, `now`, with results of the table `among`."""
    both = _BOTH.replace("{WAS}", _members(was, among)).replace("{NOW}", _members(now, TABLE))
    texts = {
        "groups": _GROUPS, "episodes": _EPISODES, "by_policy": _BY_POLICY, "biggest": _BIGGEST,
    }  # fmt: skip
    return [Query(name=name, sql=both + text) for name, text in texts.items()]


def compare(clickhouse: ClickHouse, was: Names, now: Names) -> Comparison:
    """Compare a replay with what was live, or where nothing of that name was with another replay.

    Raises ClickHouseUnavailable.
    """
    live = clickhouse.query(
        f"SELECT 1 FROM {LIVE} WHERE rule = {{rule:String}} AND credit = {{credit:String}} LIMIT 1",
        {"rule": was.rule, "credit": was.credit},
    )
    asked = queries(was, now, among=LIVE if live else TABLE)
    rows = {one.name: clickhouse.query(one.sql) for one in asked}
    return Comparison(
        queries=asked,
        was=was,
        now=now,
        groups=rows["groups"][0],
        episodes=rows["episodes"][0],
        by_policy=rows["by_policy"],
        biggest=rows["biggest"],
    )


def _members(names: Names, table: str) -> str:
    text = _MEMBERS.replace("{TABLE}", table)
    return text.replace("{RULE}", _quoted(names.rule)).replace("{CREDIT}", _quoted(names.credit))


def _quoted(text: str) -> str:
    """A text as a literal of ClickHouse: these queries are for a person to ask again."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
