"""Two operations on three numbers: an endless supply to train on, some held out."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from headrace.connectors.tasks import TaskItem

RESERVED = 1024
"""Tasks that are never trained on."""


@dataclass(kw_only=True, slots=True, frozen=True)
class _Operation:
    first: str
    then: str
    apply: Callable[[int, int], int]


_OPERATIONS = (
    _Operation(first="Add {a} and {b}", then="add {c}", apply=lambda a, b: a + b),
    _Operation(first="Subtract {b} from {a}", then="subtract {c}", apply=lambda a, b: a - b),
    _Operation(first="Multiply {a} by {b}", then="multiply by {c}", apply=lambda a, b: a * b),
)
_NUMBERS = range(2, 50)
_Task = tuple[int, int, int, int, int]
"""The two operations and the three numbers."""


def train(seed: int = 0) -> Iterator[TaskItem]:
    """Random tasks without end, none of them held out."""
    draw = random.Random(seed)
    held = frozenset(_held_out())
    while True:
        if (task := _drawn(draw)) not in held:
            yield _item(task)


def heldout(n: int = 64) -> list[TaskItem]:
    """The first `n` held-out tasks, always the same, each with a seed to sample with."""
    if not 1 <= n <= RESERVED:
        raise ValueError(f"{n} held-out tasks: ask for 1 to {RESERVED}")
    return [_item(task, seed=number) for number, task in enumerate(_held_out()[:n])]


@cache
def _held_out() -> tuple[_Task, ...]:
    draw = random.Random("headrace planner_executor")
    found: dict[_Task, None] = {}  # in the order in which they are drawn
    while len(found) < RESERVED:
        found[_drawn(draw)] = None
    return tuple(found)


def _drawn(draw: random.Random) -> _Task:
    first, then = (draw.randrange(len(_OPERATIONS)) for _ in range(2))
    a, b, c = (draw.choice(_NUMBERS) for _ in range(3))
    return first, then, a, b, c


def _item(task: _Task, **more: int) -> TaskItem:
    first, then, a, b, c = task
    question = f"{_OPERATIONS[first].first.format(a=a, b=b)}, then {_OPERATIONS[then].then}."
    return TaskItem(
        input={"question": question.format(c=c), **more},
        expected=_OPERATIONS[then].apply(_OPERATIONS[first].apply(a, b), c),
    )
