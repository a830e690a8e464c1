"""The topics' names, who reads them, and how much a record may weigh."""

from enum import StrEnum

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""The largest record that topics, producers, consumers and the embedded broker take."""

_DEAD_LETTERS = ".dlq"


class Topic(StrEnum):
    """A topic of records with a schema."""

    TASKS = "headrace.tasks"
    SPANS = "headrace.spans"
    EPISODES = "headrace.episodes"
    SAMPLES = "headrace.samples"
    CREDITS = "headrace.credits"
    POLICIES = "headrace.policies"
    OUTCOMES = "headrace.outcomes"
    HALTS = "headrace.halts"


class StageGroup(StrEnum):
    """The consumer group of a stage, where no setting names another."""

    ASSEMBLE = "headrace.assemble"
    CREDIT = "headrace.credit"


def dead_letters_of(topic: str) -> str:
    """The topic that takes what cannot be read in `topic`."""
    return f"{topic}{_DEAD_LETTERS}"


def is_dead_letters(topic: str) -> bool:
    """Whether a topic is one of dead letters."""
    return topic.endswith(_DEAD_LETTERS)
