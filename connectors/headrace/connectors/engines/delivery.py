"""Increments on their way from an engine's thread to the event loop that awaits them."""

import asyncio
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

from headrace.connectors.engines.base import Generation, Increment, OnIncrement, TopLogprobs


class Step(NamedTuple):
    """One token and the text that it made certain."""

    token: int
    logprob: float
    version: int
    text: str
    top_logprobs: TopLogprobs | None


class Delivery:
    """The steps of one request. `put` is the engine's thread's; all else is the loop's.

    Steps that are there when the loop comes round are one increment. Without a lock: appending to
    a deque and taking from it are atomic, and a step put while the loop takes is taken or announced
    again.
    """

    def __init__(
        self, loop: AbstractEventLoop, on_increment: OnIncrement, cancel: Callable[[], object]
    ) -> None:
        """cancel: takes the request out of the engine; called once on_increment has raised."""
        self.loop = loop
        self.error: Exception | None = None
        """What on_increment raised."""
        self._on_increment = on_increment
        self._cancel = cancel
        self._steps: deque[Step] = deque()
        self._is_announced = False
        self._is_closed = False

    def put(self, step: Step) -> bool:
        """Add a step; whether the loop is still to be told."""
        self._steps.append(step)
        if self._is_announced:
            return False
        self._is_announced = True
        return True

    def deliver(self) -> None:
        """Hand over what is there."""
        self._is_announced = False
        steps = self._take()
        if not steps or self._is_closed:
            return
        try:
            self._on_increment(_increment(steps))
        except Exception as error:
            self.error = error
            self.close()
            self._cancel()

    def close(self) -> None:
        """Hand over nothing more."""
        self._is_closed = True

    def _take(self) -> list[Step]:
        steps = []
        while self._steps:
            steps.append(self._steps.popleft())
        return steps


class Outbox:
    """The deliveries of one step of an engine, announced with one call for each loop."""

    def __init__(self) -> None:
        self._waiting: dict[AbstractEventLoop, list[Delivery]] = {}

    def put(self, delivery: Delivery, step: Step) -> None:
        """Add a step of a request."""
        if delivery.put(step):
            self._waiting.setdefault(delivery.loop, []).append(delivery)

    def announce(self) -> None:
        """Tell the loops. A loop that is closed has nobody left who waits."""
        for loop, deliveries in self._waiting.items():
            try:
                loop.call_soon_threadsafe(_deliver, deliveries)
            except RuntimeError:
                if not loop.is_closed():
                    raise
        self._waiting.clear()


async def answer_of(future: Future[Generation], delivery: Delivery | None) -> Generation:
    """Wait for a request; all its increments are delivered before this returns.

    Raises:
        Exception: what on_increment raised, or the engine.
    """
    if delivery is None:
        return await asyncio.wrap_future(future)
    try:
        generation = await asyncio.wrap_future(future)
        delivery.deliver()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if delivery.error is None or (task is not None and task.cancelling()):
            raise
    finally:
        delivery.close()
    if delivery.error is not None:
        raise delivery.error
    return generation


def _deliver(deliveries: list[Delivery]) -> None:
    for delivery in deliveries:
        delivery.deliver()


def _increment(steps: list[Step]) -> Increment:
    tops = tuple(step.top_logprobs for step in steps if step.top_logprobs is not None)
    return Increment(
        token_ids=tuple(step.token for step in steps),
        logprobs=tuple(step.logprob for step in steps),
        versions=tuple(step.version for step in steps),
        text="".join(step.text for step in steps),
        top_logprobs=tops,
    )
