"""Does to the running parts what the schedule says, and notes each deed with its time."""

import os
import resource
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import psutil
from benchmarks.faults.guest import Guest
from benchmarks.faults.parts import Running
from benchmarks.faults.schedule import Fault, Kind

from headrace.connectors.kafka import KafkaClientError, LogRecord, Outgoing, Tailer, Writer
from headrace.infra.errors import InfraError
from headrace.infra.supervise import State
from headrace.schemas.topics import Topic

LATE_S = 3.0
PATIENCE_S = 180.0
_AHEAD_S = (3600.0, -3600.0, 0.0)
_AGAIN = 20

Note = Callable[[dict[str, Any]], None]


class Injector:
    """Injects faults into what runs; `end` takes every lasting one back."""

    def __init__(self, running: Running, note: Note) -> None:
        self.done: Counter[str] = Counter()
        """Deeds by kind and part."""
        self._running = running
        self._note = note
        self._began = time.monotonic()
        self._later: list[threading.Timer] = []
        self._guests: dict[str, Guest] = {}
        self._clocks = 0
        self._episodes: deque[LogRecord] = deque(maxlen=500)
        kafka = running.settings.kafka_access.client("faults", delivery_timeout_ms=60_000)
        self._tailer = Tailer(kafka, [Topic.EPISODES], name="faults")
        self._writer = Writer(kafka)
        self._deeds = {
            Kind.KILL: self._kill,
            Kind.STOP: self._stop,
            Kind.JOIN: self._join,
            Kind.LATE: self._late,
            Kind.REPEAT: self._repeat,
            Kind.CLOCK: self._move_clock,
            Kind.FULL: self._fill,
        }

    def inject(self, fault: Fault) -> None:
        """Do it. Raises InfraError if the part to harm does not come back from the last time."""
        time.sleep(fault.pause_s)
        outcome = self._deeds[fault.kind](fault)
        self.done[f"{fault.kind} {fault.part}".strip()] += outcome == ""
        at = round(time.monotonic() - self._began, 2)
        self._note({"at_s": at, **asdict(fault), "left_out": outcome})

    def end(self) -> None:
        """Let go on what is stopped, send guests away, give the disk its room back."""
        for timer in self._later:
            timer.join()
        self._tailer.close()
        self._writer.close()

    def _kill(self, fault: Fault) -> str:
        os.killpg(self._pid(fault.part), signal.SIGKILL)
        return ""

    def _stop(self, fault: Fault) -> str:
        pid = self._pid(fault.part)
        os.killpg(pid, signal.SIGSTOP)
        self._after(fault.seconds, lambda: os.killpg(pid, signal.SIGCONT))
        return ""

    def _join(self, fault: Fault) -> str:
        if fault.part in self._guests:
            return "one is here"
        guest = self._guests[fault.part] = Guest(self._running.stages[fault.part])

        def leave() -> None:
            guest.leave(abruptly=fault.seconds > 7)
            del self._guests[fault.part]

        self._after(fault.seconds, leave)
        return ""

    def _late(self, fault: Fault) -> str:
        tables = self._running.tables
        tables.delay_s = LATE_S
        self._after(fault.seconds, lambda: setattr(tables, "delay_s", 0.0))
        return ""

    def _repeat(self, fault: Fault) -> str:
        try:
            while records := self._tailer.read(0.2):
                self._episodes.extend(record for record in records if not record.tick)
            again = list(self._episodes)[:: max(1, len(self._episodes) // _AGAIN)][:_AGAIN]
            self._writer.send(
                [
                    Outgoing(topic=one.topic, partition=one.partition, value=one.value)
                    for one in again
                ],
                10.0,
            )
        except KafkaClientError as error:  # the broker is away, by another fault
            return str(error)
        return "" if again else "no episode yet"

    def _move_clock(self, fault: Fault) -> str:
        ahead = _AHEAD_S[self._clocks % len(_AHEAD_S)]
        self._clocks += 1
        (self._running.directory(fault.part) / "clock").write_text(str(ahead))
        return ""

    def _fill(self, fault: Fault) -> str:
        """No file of the part's processes may grow, as those of a full disk may not; ClickHouse,
        which asks for room before it writes, gets a disk that is full."""
        if fault.part == "clickhouse":
            return self._fill_disk(fault.seconds)
        leader = psutil.Process(self._pid(fault.part))
        processes = [each.pid for each in (leader, *leader.children(recursive=True))]
        for pid in processes:
            _bound_files(pid, 0)

        def free() -> None:
            for pid in processes:
                _bound_files(pid, resource.RLIM_INFINITY)

        self._after(fault.seconds, free)
        return ""

    def _fill_disk(self, seconds: float) -> str:
        disk = self._running.disk
        if disk is None:
            return "this machine lends no disk that could be filled"
        disk.fill()
        self._after(seconds, disk.free)
        return ""

    def _pid(self, part: str) -> int:
        """Process of a part that is up; waits for one that is not."""
        end = time.monotonic() + PATIENCE_S
        while True:
            states = {state.name: state for state in self._running.owner(part).states()}
            state = states[part]
            if state.pid is not None and state.state in (State.READY, State.SILENT):
                return state.pid
            if time.monotonic() > end:
                raise InfraError(f"{part} is not back: {state.state}, {state.message}")
            time.sleep(0.05)

    def _after(self, seconds: float, undo: Callable[[], None]) -> None:
        def safely() -> None:
            with suppress(ProcessLookupError):  # another fault ended it
                undo()

        timer = threading.Timer(seconds, safely)
        self._later.append(timer)
        timer.start()


def _bound_files(pid: int, size: int) -> None:
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    soft = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
