"""What `headrace work` shows: a line for a person, or a JSON object for each thing that happens."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Protocol

from headrace.connectors.runner import Ended, RunnerStats

_SHOWN = 60  # characters of a failure in the line


class Worker(Protocol):
    """What a runner says of itself."""

    @property
    def stats(self) -> RunnerStats:
        """Attempts so far, by how they ended."""

    @property
    def running(self) -> int:
        """Attempts that run now."""

    @property
    def waiting(self) -> int:
        """Tasks that wait for another attempt."""

    @property
    def away(self) -> bool:
        """Whether no broker answers now."""

    @property
    def halted(self) -> Mapping[tuple[str, int], object]:
        """Partitions of tasks that are not read on."""

    @property
    def resting(self) -> bool:
        """Whether only single attempts are tried, since all failed."""

    @property
    def last_failure(self) -> str:
        """Why the newest attempt that failed did."""

    @property
    def next_try_s(self) -> float:
        """Seconds until a resting runner tries one."""


def progress(runner: Worker, *, stopping: bool) -> str:
    """What a runner does, in a line."""
    told = [f"attempts: {runner.stats}", f"{runner.running} running"]
    if runner.waiting:
        told.append(f"{runner.waiting} to be tried again")
    if runner.last_failure:
        told.append(f"last failure: {runner.last_failure[:_SHOWN]}")
    if halted := ", ".join(f"{topic}/{number}" for topic, number in sorted(runner.halted)):
        told.append(f"halted: {halted} (`headrace status` says why)")
    if why := pause_of(runner, stopping=stopping):
        told.append(f"{why}; one is tried in {runner.next_try_s:.0f} s" if runner.resting else why)
    elif not runner.running and not runner.waiting:
        told.append("waiting for tasks")
    return "; ".join(told)


def pause_of(runner: Worker, *, stopping: bool) -> str:
    """Why a runner starts no further attempts; empty: it does."""
    if stopping:
        return "stopping"
    if runner.away:
        return "waiting for Kafka"
    return "paused: every attempt fails" if runner.resting else ""


class Events:
    """Tells in JSON, an object a line, what happens to a runner."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._why = ""

    def ended(self, ended: Ended) -> None:
        """An attempt has ended."""
        self._write("ended", **asdict(ended))

    def turn(self, runner: Worker, *, stopping: bool) -> None:
        """Tell of a pause that begins or ends."""
        why = pause_of(runner, stopping=stopping)
        if why == self._why:
            return
        self._why = why
        if stopping:
            self._write("stopping", running=runner.running)
        elif why:
            self._write(
                "paused", why=why, last_failure=runner.last_failure, next_try_s=runner.next_try_s
            )
        else:
            self._write("resumed")

    def over(self, runner: Worker) -> None:
        """The runner has stopped: what there was in all."""
        self._write("stopped", **asdict(runner.stats))

    def _write(self, event: str, **facts: object) -> None:
        self._tell(json.dumps({"event": event, **facts}, ensure_ascii=False))
