"""Tasks for the agents of a demo, and the wait until the last of them have ended."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console

from headrace.connectors.clickhouse import ClickHouse, ClickHouseUnavailable
from headrace.connectors.tasks import TaskItem, TaskSource
from headrace.infra.demo import queries
from headrace.infra.settings import Settings

ENDED_S = 60.0
"""A rollout of the demos takes seconds; one that hangs is not waited for."""
LOOK_S = 0.5


def await_outcomes(settings: Settings, client: ClickHouse, console: Console) -> None:
    """Let the last rollouts of training end, too, so that each sample has its outcome."""
    with console.status("waiting until the last rollouts have ended"):
        end = time.monotonic() + ENDED_S
        while time.monotonic() < end:
            with suppress(ClickHouseUnavailable):  # restarting: asked again
                (left,) = queries.ask(client, queries.UNSETTLED, policy=settings.policy.name)
                if left["rollouts"] == 0:
                    return
            time.sleep(LOOK_S)


@contextmanager
def feeding(source: TaskSource, draw: Iterator[TaskItem]) -> Iterator[Callable[[], None]]:
    """Training tasks keep coming while the block runs; what it gives raises why they do not."""
    stop = threading.Event()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            source.run(draw, stop)
        except BaseException as error:  # handed to the demo's own thread
            failure.append(error)

    def check() -> None:
        if failure:
            raise failure[0]

    thread = threading.Thread(target=run, name="tasks", daemon=True)
    thread.start()
    try:
        yield check
    finally:
        stop.set()
        thread.join()
    check()
