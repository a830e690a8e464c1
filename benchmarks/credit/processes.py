"""The processes: each has one thing that methods of credit differ in."""

import numpy as np
from benchmarks.credit.process import Arc, Array, Process

END = None


def _even(states: int, actions: int = 2) -> Array:
    return np.full((states, actions), 1 / actions)


def _sure(to: int | None, reward: float = 0.0) -> tuple[Arc, ...]:
    return (Arc(chance=1.0, to=to, reward=reward),)


def chain(length: int = 4) -> Process:
    """Every step must be right; the end says whether all were."""
    arcs = []
    for step in range(length):
        last = step == length - 1
        arcs.append((_sure(END, 1.0) if last else _sure(step + 1), _sure(END, 0.0)))
    return Process(
        name="chain",
        about="four right steps in a row, one reward at the end; a wrong step ends it",
        arcs=tuple(arcs),
        policy=np.tile([0.7, 0.3], (length, 1)),
        progress={step: step / length for step in range(length)},
        fails=lambda state, action: action == 1,
    )


def _fork(name: str, about: str, decisive: int, length: int = 5) -> Process:
    """One step decides, the others are idle; states after it remember what was decided."""
    arcs: list[tuple[tuple[Arc, ...], ...]] = []
    # State 2·step + lane: the lane is what was decided, 0 before it.
    for step in range(length):
        for lane in range(2):
            won = [lane, lane]
            if step == decisive:
                won = [1, 0]
            if step == length - 1:
                arcs.append(tuple(_noisy(bool(each)) for each in won))
            else:
                arcs.append(tuple(_sure(2 * (step + 1) + each) for each in won))
    return Process(
        name=name,
        about=about,
        arcs=tuple(arcs),
        policy=_even(2 * length),
        progress={2 * step + 1: 0.5 for step in range(decisive + 1, length)},
    )


def _noisy(won: bool) -> tuple[Arc, ...]:
    chance = 0.9 if won else 0.1
    return (Arc(chance=chance, to=END, reward=1.0), Arc(chance=1 - chance, to=END))


def first_decides() -> Process:
    """The first of five calls decides."""
    return _fork("first decides", "the first of five calls decides, the others are idle", 0)


def last_decides() -> Process:
    """The last of five calls decides."""
    return _fork("last decides", "the last of five calls decides, the others are idle", 4)


def checked_turns(length: int = 4) -> Process:
    """Each turn earns something of its own, and that is told."""
    arcs = tuple(
        (
            (
                Arc(chance=0.8, to=step + 1 if step < length - 1 else END, reward=1.0),
                Arc(chance=0.2, to=step + 1 if step < length - 1 else END),
            ),
            (
                Arc(chance=0.3, to=step + 1 if step < length - 1 else END, reward=1.0),
                Arc(chance=0.7, to=step + 1 if step < length - 1 else END),
            ),
        )
        for step in range(length)
    )
    return Process(
        name="checked turns",
        about="four turns, each right or wrong for itself, each reward aimed at its call",
        arcs=arcs,
        policy=_even(length),
        told=True,
    )


def tools(length: int = 4) -> Process:
    """A careless call makes its tool fail; each failure costs a part of the chance at the end."""
    # State: step·(length + 1) + failures.
    width = length + 1
    arcs: list[tuple[tuple[Arc, ...], ...]] = []
    for step in range(length):
        for failed in range(width):
            of_state = []
            for action in range(2):
                now = min(failed + action, length)
                if step < length - 1:
                    of_state.append(_sure((step + 1) * width + now))
                else:
                    chance = 1 - now / (length + 1)
                    of_state.append(
                        (Arc(chance=chance, to=END, reward=1.0), Arc(chance=1 - chance, to=END))
                    )
            arcs.append(tuple(of_state))
    return Process(
        name="tools",
        about="four calls, a careless one's tool fails; each failure costs a fifth of the chance",
        arcs=tuple(arcs),
        policy=_even(len(arcs)),
        progress={s: (s // width - 2 * (s % width)) / (2 * length) for s in range(len(arcs))},
        fails=lambda state, action: action == 1,
    )


def corridor(length: int = 5) -> Process:
    """A walk with a prize at one end and nothing at the other: states come again and again."""
    arcs = []
    for place in range(length):
        left = _sure(place - 1) if place > 0 else _sure(END, 0.0)
        right = _sure(place + 1) if place < length - 1 else _sure(END, 1.0)
        arcs.append((right, left))
    # Episodes begin in state 0: number the places from the middle.
    order = [length // 2, *(p for p in range(length) if p != length // 2)]
    number = {place: i for i, place in enumerate(order)}
    renamed = tuple(
        tuple(
            tuple(
                Arc(chance=a.chance, to=END if a.to is None else number[a.to], reward=a.reward)
                for a in action
            )
            for action in arcs[place]
        )
        for place in order
    )
    return Process(
        name="corridor",
        about="a walk of five places to a prize at one end; places are visited again",
        arcs=renamed,
        policy=np.tile([0.55, 0.45], (length, 1)),
        progress={number[place]: (place + 1) / (length + 1) - 0.5 for place in range(length)},
    )


def stop_or_go() -> Process:
    """Stop now for 0.6, or go on for 1 in two calls."""
    arcs = ((_sure(1), _sure(END, 0.6)), (_sure(END, 1.0), _sure(END, 1.0)))
    return Process(
        name="stop or go on",
        about="stop for 0.6 in one call, go on for 1 in two",
        arcs=arcs,
        policy=_even(2),
    )


def everything() -> list[Process]:
    """All of them."""
    return [
        chain(), first_decides(), last_decides(), checked_turns(), tools(), corridor(),
        stop_or_go(),
    ]  # fmt: skip
