"""What the topics hold once a phase is over, and when the broker took it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from headrace.connectors.kafka import KafkaConfig, Tailer
from headrace.schemas import Codec
from headrace.schemas.topics import Topic


@dataclass(kw_only=True, slots=True)
class Seen:
    """Records of one project. Times are LogAppendTime, milliseconds since the epoch."""

    episodes: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """(rollout, attempt, version) -> how often it was published."""
    episode_times: list[tuple[int, int]] = field(default_factory=list)
    """(time, spans) of each published episode."""
    samples: Counter[str] = field(default_factory=Counter)
    """Sample -> how often."""
    credits: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(group, version) -> how often."""
    credited: dict[str, tuple[int, str, int]] = field(default_factory=dict)
    """Group -> (time of its first Credits, outcome, members)."""


def seen_on_topics(kafka: KafkaConfig, codec: Codec, project: str) -> Seen:
    """Read the stages' topics from their beginning."""
    seen = Seen()
    for time_ms, data in _records(kafka, codec, Topic.EPISODES):
        for episode in _of(project, data["episodes"]):
            seen.episodes[episode["rollout_id"], episode["attempt"], episode["version"]] += 1
            seen.episode_times.append((time_ms, episode["n_spans"]))
    for _, data in _records(kafka, codec, Topic.SAMPLES):
        seen.samples.update(sample["sample_id"] for sample in _of(project, [data]))
    for time_ms, data in _records(kafka, codec, Topic.CREDITS):
        for credits in _of(project, data["credits"]):
            group = credits["group_id"]
            seen.credits[group, credits["version"]] += 1
            facts = time_ms, credits["outcome"], len(credits["members"])
            seen.credited.setdefault(group, facts)
    return seen


def _of(project: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record["project"] == project]


def _records(kafka: KafkaConfig, codec: Codec, topic: str) -> Iterator[tuple[int, dict[str, Any]]]:
    tailer = Tailer(kafka, [topic], name="benchmark")
    try:
        while not tailer.caught_up:
            for message in tailer.read(1.0):
                if message.value is not None:  # a tick has none
                    yield message.log_time, codec.decode(topic, message.value)
    finally:
        tailer.close()
