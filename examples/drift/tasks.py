"""What users ask: sums at first, products in other words from some day on."""

import random
from collections.abc import Iterator
from functools import cache

from headrace.connectors.tasks import TaskItem

SUMS, PRODUCTS = "sums", "products"
RESERVED = 1024
"""Pairs of numbers of each topic that are never trained on."""


def train(seed: int = 0) -> Iterator[TaskItem]:
    """Sums without end, none of them held out."""
    return _train(SUMS, seed)


def train_after(seed: int = 0) -> Iterator[TaskItem]:
    """What is asked after the change, without end: products."""
    return _train(PRODUCTS, seed)


def heldout(n: int = 64) -> list[TaskItem]:
    """The first `n` held-out products, always the same, each with a seed to sample with."""
    return _heldout(PRODUCTS, n)


def heldout_before(n: int = 64) -> list[TaskItem]:
    """The same of sums."""
    return _heldout(SUMS, n)


def _train(topic: str, seed: int) -> Iterator[TaskItem]:
    draw = random.Random(f"headrace drift {topic} {seed}")
    asked = _shuffled(topic)[RESERVED:]
    while True:
        question, right = draw.choice(asked)
        yield TaskItem(input={"topic": topic, "question": question}, expected=right)


def _heldout(topic: str, n: int) -> list[TaskItem]:
    if not 1 <= n <= RESERVED:
        raise ValueError(f"{n} held-out questions: ask for 1 to {RESERVED}")
    return [
        TaskItem(input={"topic": topic, "question": question, "seed": number}, expected=right)
        for number, (question, right) in enumerate(_shuffled(topic)[:n])
    ]


@cache
def _shuffled(topic: str) -> tuple[tuple[str, int], ...]:
    pairs = [(a, b) for a in range(2, 100) for b in range(2, 100)]
    if topic == SUMS:
        every = [(f"What is {a} plus {b}?", a + b) for a, b in pairs]
        every += [(f"What is {a} minus {b}?", a - b) for a, b in pairs]
    else:
        every = [(f"Give me the product of {a} and {b}.", a * b) for a, b in pairs]
    random.Random(f"headrace drift {topic}").shuffle(every)
    return tuple(every)
