"""Whether everything that went in came out, once. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.streams.follow import Seen
from benchmarks.streams.load import Expected

_SHOWN = 3


@dataclass(kw_only=True, slots=True, frozen=True)
class Stored:
    """What ClickHouse has of a project."""

    spans: int
    """Rows of `spans` as they are, FINAL not applied: a double would be one more."""
    episodes: Mapping[str, Mapping[str, Any]]
    """Rollout -> its row of `episodes` FINAL: attempt, state, n_spans, digest."""
    groups: Mapping[str, str]
    """Group -> state of its row of `groups` FINAL."""
    tasks: int
    """Rows of `tasks` FINAL."""


def faults(
    expected: Sequence[Expected], stored: Stored, seen: Seen, assembled: int, tasks: int
) -> list[str]:
    """What is wrong, in words; nothing for a run in which all counts agree.

    Args:
        expected: what the producer sent.
        stored: what ClickHouse has.
        seen: what the topics hold.
        assembled: spans that the assembler says it took.
        tasks: tasks that were sent.
    """
    spans = sum(episode.spans for episode in expected)
    groups = {episode.group_id for episode in expected}
    found = [
        _differ("spans taken by the assembler", spans, assembled),
        _differ("rows of spans", spans, stored.spans),
        _differ("spans of the episodes on the topic", spans, sum(n for _, n in seen.episode_times)),
        _differ("rows of tasks", tasks, stored.tasks),
        *_episode_faults(expected, stored),
        _sets(
            "episodes on the topic",
            [(e.rollout_id, e.attempt, 2 * e.spans + 1) for e in expected],
            seen.episodes,
        ),
        _sets("samples", [name for e in expected for name in e.samples], seen.samples),
        _sets("groups", groups, stored.groups),
        _sets("credited groups", groups, seen.credited),
        _some("groups not final", [g for g, state in stored.groups.items() if state != "final"]),
        *(
            _some(f"{what} published twice", [name for name, times in counts.items() if times > 1])
            for what, counts in (
                ("episode versions", seen.episodes),
                ("samples", seen.samples),
                ("credits", seen.credits),
            )
        ),
    ]
    return [text for text in found if text]


def _episode_faults(expected: Sequence[Expected], stored: Stored) -> Iterable[str]:
    yield _sets("episodes", [e.rollout_id for e in expected], stored.episodes)
    wrong = []
    for episode in expected:
        row = stored.episodes.get(episode.rollout_id)
        facts = (episode.attempt, "closed", episode.spans, episode.digest)
        if row and facts != (row["attempt"], row["state"], row["n_spans"], row["digest"]):
            wrong.append(episode.rollout_id)
    yield _some("episodes with other spans than were sent", wrong)


def _differ(what: str, sent: int, found: int) -> str:
    return "" if sent == found else f"{what}: {found:,}, not {sent:,}"


def _sets(what: str, sent: Iterable[Any], found: Iterable[Any]) -> str:
    sent_set, found_set = set(sent), set(found)
    if sent_set == found_set:
        return ""
    return (
        f"{what}: {len(sent_set - found_set):,} missing, "
        f"{len(found_set - sent_set):,} that nobody sent"
    )


def _some(what: str, names: Sequence[Any]) -> str:
    return f"{len(names):,} {what}, as {names[:_SHOWN]}" if names else ""
