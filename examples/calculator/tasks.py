"""Questions for the calculator agent: an endless supply to train on, some held out."""

import random
from collections.abc import Iterator
from functools import cache

from headrace.connectors.tasks import TaskItem

WORDS = ("plus", "minus", "times")
RESERVED = 1024
"""Questions that are never trained on."""


def train(seed: int = 0) -> Iterator[TaskItem]:
    """Random questions without end, none of them held out."""
    draw = random.Random(seed)
    questions = _shuffled()[RESERVED:]
    while True:
        a, word, b = draw.choice(questions)
        yield TaskItem(input={"question": _question(a, word, b)}, expected=_answer(a, word, b))


def heldout(n: int = 64) -> list[TaskItem]:
    """The first `n` held-out questions, always the same, each with a seed to sample with."""
    if not 1 <= n <= RESERVED:
        raise ValueError(f"{n} held-out questions: ask for 1 to {RESERVED}")
    return [
        TaskItem(
            input={"question": _question(a, word, b), "seed": number},
            expected=_answer(a, word, b),
        )
        for number, (a, word, b) in enumerate(_shuffled()[:n])
    ]


@cache
def _shuffled() -> tuple[tuple[int, str, int], ...]:
    numbers = range(2, 100)
    every = [(a, word, b) for a in numbers for word in WORDS for b in numbers]
    random.Random("headrace calculator").shuffle(every)
    return tuple(every)


def _question(a: int, word: str, b: int) -> str:
    return f"What is {a} {word} {b}?"


def _answer(a: int, word: str, b: int) -> int:
    return {"plus": a + b, "minus": a - b, "times": a * b}[word]
