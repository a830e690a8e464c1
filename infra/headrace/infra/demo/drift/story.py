"""What happened, as ClickHouse tells it."""

from rich.console import Console

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.canary.moves import Did
from headrace.infra.demo import queries
from headrace.infra.demo.evaluation import HeldOut
from headrace.infra.demo.report import show_rows
from headrace.infra.settings import Settings

REWARDS = """
SELECT JSONExtractString(task_input, 'topic') AS topic, version_min AS version,
    min(toDateTime(asked_at)) AS first_asked, max(toDateTime(asked_at)) AS last_asked,
    count() AS rollouts, round(avg(reward), 3) AS mean_reward
FROM rollouts WHERE policy = {policy:String} AND split = 'train' AND reward IS NOT NULL
GROUP BY topic, version ORDER BY version, topic
"""

FEEDBACK = """
SELECT count() AS judged, round(min(late) / 1000, 1) AS least_s,
    round(quantile(0.5)(late) / 1000, 1) AS median_s, round(max(late) / 1000, 1) AS most_s
FROM (
    SELECT minIf(log_time, kind = 'reward') - maxIf(log_time, kind = 'attempt.end') AS late
    FROM spans FINAL WHERE (project, rollout_id) IN (
        SELECT project, rollout_id FROM rollouts WHERE policy = {policy:String}
    )
    GROUP BY project, rollout_id, attempt
    HAVING countIf(kind = 'reward') > 0 AND countIf(kind = 'attempt.end') > 0
)
"""

TRAFFIC = """
SELECT toDateTime(fromUnixTimestamp64Milli(log_time)) AS at, version AS serves,
    arrayStringConcat(arrayMap(s -> concat(toString(s.version), '=', toString(s.share)), shares))
        AS shares, said_by, why
FROM traffic FINAL WHERE policy = {policy:String} ORDER BY offset
"""

HELD_OUT = """
SELECT JSONExtractString(task_input, 'topic') AS topic, version, count() AS tasks,
    countIf(reward = 1) AS solved
FROM evaluations WHERE policy = {policy:String} GROUP BY topic, version ORDER BY topic, version
"""

STORY = (REWARDS, FEEDBACK, TRAFFIC, HELD_OUT)


def tell(
    console: Console, settings: Settings, before: HeldOut, bad: tuple[int, Did | None]
) -> None:
    """The story in SQL, what became of the old questions, and of the bad version."""
    console.rule("the story")
    client = ClickHouse(settings.clickhouse_config)
    try:
        for query in STORY:
            policy = settings.policy.name
            show_rows(console, query, policy, queries.ask(client, query, policy=policy))
    finally:
        client.close()
    paired = before.paired
    low, high = paired.interval
    console.print(
        f"what was asked before the change ({len(paired.before)} held-out questions): version "
        f"{before.first} got {paired.rate_before:.2f} right, version {before.last} "
        f"{paired.rate_after:.2f} (difference {paired.rate_after - paired.rate_before:+.2f}, 95 % "
        f"interval {low:+.2f} to {high:+.2f})",
        highlight=False,
        soft_wrap=True,
    )
    version, did = bad
    if did == Did.ROLLED_BACK:
        console.print(f"Version {version}, made bad, was rolled back.", style="green")
    else:
        console.print(f"Version {version}, made bad, was not rolled back ({did}).", style="red")
