"""The calculator's questions, with a calculator that is down for three in four of them."""

import random
from collections.abc import Iterator
from dataclasses import replace

from examples.calculator import tasks as calculator
from examples.recovery.tools import DOWN
from headrace.connectors.tasks import TaskItem

SHARE = 0.75
"""Of the tasks to train whose calculator is down."""


def train(seed: int = 0) -> Iterator[TaskItem]:
    """Random questions without end, none of them held out."""
    draw = random.Random(f"headrace recovery {seed}")
    for item in calculator.train(seed):
        yield _with(item, draw.choice(DOWN) if draw.random() < SHARE else "")


def heldout(n: int = 64) -> list[TaskItem]:
    """The first `n` held-out questions, always the same, each with a seed to sample with.

    The calculator is down in each, in a way that its number decides: so the share that is solved
    is the rate of recovery, and every version meets the same failures.
    """
    return [
        _with(item, random.Random(f"headrace recovery {number}").choice(DOWN))
        for number, item in enumerate(calculator.heldout(n))
    ]


def _with(item: TaskItem, down: str) -> TaskItem:
    return replace(item, input={**item.input, "down": down})
