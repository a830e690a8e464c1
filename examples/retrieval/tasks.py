"""Questions about the facts: an endless supply, and some about things that are never trained."""

import random
from collections.abc import Iterator, Sequence
from functools import cache

from examples.retrieval.knowledge import Fact, facts
from headrace.connectors.tasks import TaskItem

QUESTIONS = {
    "capital": "What is the capital of {}?",
    "currency": "What is the currency of {}?",
    "domain": "What is the internet domain of {}?",
    "country": "In which country is the city {}?",
    "symbol": "What is the symbol of {}?",
    "number": "What is the atomic number of {}?",
}
RESERVED = 512
"""Held-out questions that there are."""
_TENTH = 10  # of all things are held out, with all their facts


def train(seed: int = 0) -> Iterator[TaskItem]:
    """Random questions without end, each kind as often, none about a thing that is held out."""
    draw = random.Random(seed)
    by_kind = _by_kind(held=False)
    while True:
        yield _task(draw, by_kind)


def heldout(n: int = 64) -> list[TaskItem]:
    """The first `n` held-out questions, always the same, each with a seed to sample with."""
    if not 1 <= n <= RESERVED:
        raise ValueError(f"{n} held-out questions: ask for 1 to {RESERVED}")
    draw = random.Random("headrace retrieval")
    by_kind = _by_kind(held=True)
    return [_task(draw, by_kind, seed=number) for number in range(n)]


@cache
def _by_kind(*, held: bool) -> tuple[tuple[Fact, ...], ...]:
    things = sorted({fact.about for fact in facts()})
    random.Random("headrace retrieval").shuffle(things)
    held_out = set(things[: len(things) // _TENTH])
    return tuple(
        tuple(fact for fact in facts() if fact.what == what and (fact.about in held_out) == held)
        for what in QUESTIONS
    )


def _task(draw: random.Random, by_kind: Sequence[Sequence[Fact]], **more: int) -> TaskItem:
    fact = draw.choice(draw.choice(by_kind))
    question = QUESTIONS[fact.what].format(fact.about)
    return TaskItem(
        input={"question": question, **more},
        expected={"answer": fact.value, "passage": fact.passage},
    )
