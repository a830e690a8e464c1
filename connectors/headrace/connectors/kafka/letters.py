"""Dead letters looked through and sent again, by a person. Blocking.

The topics are the record: what was set aside stays there untouched until retention removes it. One
that was sent again gets a second letter that says so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.dead_letters import (
    DeadLetter,
    DeadLetters,
    facts_of,
    read_letters,
)
from headrace.connectors.kafka.errors import TopicMissing
from headrace.connectors.kafka.offsets import Offsets, Partition
from headrace.connectors.kafka.topics import partitions_of
from headrace.connectors.kafka.writer import Outgoing, Writer
from headrace.schemas.topics import Topic, dead_letters_of
from headrace.schemas.vocabulary import LetterReason

REPLAYABLE = (Topic.SPANS, Topic.EPISODES, Topic.SAMPLES, Topic.CREDITS)
"""Topics whose readers keep sets: a record that comes again changes nothing. The others have one
writer, in its own order, or begin work."""
BY_HAND = "replay"
"""The stage of a letter that says that a record was sent again."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Kept:
    """A dead letter as it is on its topic. `set_aside`: its log time, milliseconds."""

    letter: DeadLetter
    set_aside: int
    replayed: bool = False

    @property
    def place(self) -> str:
        """Where its record was: topic/partition/offset."""
        return f"{self.letter.topic}/{self.letter.partition}/{self.letter.offset}"


def depths(config: KafkaConfig) -> dict[str, int]:
    """How many records each dead-letter topic has; those without any are left out.

    Raises KafkaUnavailable.
    """
    places = [(dead_letters_of(topic), 0) for topic in Topic]
    offsets = Offsets(config)
    starts, ends = offsets.starts(places), offsets.ends(places)
    found = {where[0]: ends[where] - starts[where] for where in places}
    return {topic: number for topic, number in found.items() if number}


def kept_letters(config: KafkaConfig, topics: Sequence[str]) -> list[Kept]:
    """All dead letters of some topics, one for each record, in the order of their places.

    Raises KafkaUnavailable.
    """
    found: dict[str, Kept] = {}
    sent: set[str] = set()
    for topic in topics:
        for kept in _letters(config, topic):
            if kept.letter.stage == BY_HAND:
                sent.add(kept.place)
            else:
                found[kept.place] = kept
    letters = [replace(kept, replayed=place in sent) for place, kept in found.items()]
    return sorted(letters, key=lambda k: (k.letter.topic, k.letter.partition, k.letter.offset))


def send_again(config: KafkaConfig, kept: Sequence[Kept]) -> None:
    """Write records once more to the partitions that they were in, byte for byte.

    Only of REPLAYABLE topics. Raises KafkaUnavailable: do it again.
    """
    writer, letters = Writer(config), DeadLetters(config)
    try:
        writer.send(
            [
                Outgoing(
                    topic=one.letter.topic,
                    partition=one.letter.partition,
                    value=one.letter.value,
                )
                for one in kept
            ]
        )
        letters.send(
            [
                replace(
                    one.letter,
                    value=None,
                    reason=LetterReason.REPLAYED,
                    message=f"was {one.letter.reason}, and sent again by hand",
                    stage=BY_HAND,
                )
                for one in kept
            ]
        )
    finally:
        letters.close()
        writer.close()


def _letters(config: KafkaConfig, topic: str) -> Iterator[Kept]:
    name = dead_letters_of(topic)
    try:
        partitions: list[Partition] = [(name, n) for n in range(partitions_of(config, name))]
    except TopicMissing:  # then nothing was set aside
        return
    offsets = Offsets(config)
    starts, ends = offsets.starts(partitions), offsets.ends(partitions)
    for record in read_letters(config, name, starts, ends) if starts != ends else []:
        if not (facts := facts_of(record)):
            continue  # somebody else's
        yield Kept(
            letter=DeadLetter(
                topic=facts.get("topic", topic),
                partition=int(facts.get("partition", "0")),
                offset=int(facts["offset"]),
                value=record.value,
                reason=facts.get("reason", ""),
                message=facts.get("message", ""),
                stage=facts.get("stage", ""),
                log_time=int(facts.get("log_time", "0")),
            ),
            set_aside=record.log_time,
        )
