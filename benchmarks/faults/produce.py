"""A producing process of a fault run: attempts through the SDK until a file says to stop.

Runs under a supervisor and may be killed anywhere; the next one on its folder sends what the spool
holds and begins new groups. What it gives away, and what was acknowledged, stands in its ledger.
"""

import argparse
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from benchmarks.faults.clock import MovedClock
from benchmarks.faults.ledger import ACKNOWLEDGED, GIVEN, WHOLE, Ledger
from benchmarks.faults.load import PROJECT, Attempt, Source

from headrace.connectors.sdk import NotDurable, SdkConfig, Telemetry
from headrace.schemas import Span

AWAITED = frozenset({"attempt.start", "call", "attempt.end"})
LATE_S = 4.0
ACKNOWLEDGE_S = 60.0


class Producer:
    """A runner's telemetry, a user's, and the ledger of both."""

    def __init__(self, directory: Path, bootstrap: str, registry: str, seed: int) -> None:
        # Another life draws other groups, or all lives would tell of equal ones.
        self._source = Source(seed + time.time_ns() % 1_000_003)
        self._ledger = Ledger(directory / "ledger")
        self._runner, self._user = (
            Telemetry(
                SdkConfig(
                    bootstrap=bootstrap,
                    registry_url=registry,
                    project=PROJECT,
                    spool_directory=directory / "spool" / name,
                )
            )
            for name in ("runner", "user")
        )
        self._late: deque[tuple[float, Span]] = deque()

    def group(self, pause_s: float) -> None:
        """One group's attempts, one step of each in turn, as agents side by side make them."""
        attempts, lost = self._source.group(time.time_ns()), self._lost()
        for step in range(max(len(one.spans) for one in attempts)):
            for one in attempts:
                if step < len(one.spans):
                    self._emit(one.spans[step])
            self._emit_late()
            time.sleep(pause_s)
        if self._runner.flush(ACKNOWLEDGE_S) and self._lost() == lost:
            for one in attempts:
                self._ledger.write(ACKNOWLEDGED, one.spans)
                self._ledger.write(WHOLE, one.spans[:1])
        self._await_late(attempts)

    def finish(self) -> None:
        """Deliver all that is left, however long the broker takes."""
        while self._late:
            self._emit_late()
            time.sleep(0.1)
        while not (self._runner.flush(5.0) and self._user.flush(5.0)):
            pass
        self._runner.close()
        self._user.close()
        self._ledger.close()

    def _lost(self) -> int:
        """Spans that the SDK says it did not take or keep."""
        stats = self._runner.stats()
        return stats.dropped + stats.rejected + stats.unencodable + stats.undeliverable

    def _emit(self, span: Span) -> None:
        self._ledger.write(GIVEN, [span])
        if span.kind not in AWAITED:
            self._runner.emit(span)
            return
        self._durably(self._runner, span)

    def _durably(self, telemetry: Telemetry, span: Span) -> None:
        try:
            telemetry.emit_durably(span)
        except NotDurable:  # neither broker nor spool: given, and not acknowledged
            return
        self._ledger.write(ACKNOWLEDGED, [span])

    def _await_late(self, attempts: Sequence[Attempt]) -> None:
        due = time.monotonic() + LATE_S
        self._late += [(due, one.late) for one in attempts if one.late is not None]

    def _emit_late(self) -> None:
        while self._late and self._late[0][0] <= time.monotonic():
            _, span = self._late.popleft()
            self._ledger.write(GIVEN, [span])
            self._durably(self._user, span)


def main(argv: Sequence[str] | None = None) -> None:
    """Produce, then say so in a file and wait to be ended."""
    parser = argparse.ArgumentParser(prog="benchmarks.faults.produce", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--pause", type=float, required=True, help="seconds between two steps")
    options = parser.parse_args(argv)
    directory: Path = options.directory
    MovedClock(directory / "clock").install()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    producer = Producer(directory, options.bootstrap, options.registry, options.seed)
    (directory / "begun").touch()
    while not (directory / "stop").exists():
        producer.group(options.pause)
    producer.finish()
    (directory / "finished").touch()
    ended.wait()


if __name__ == "__main__":
    main()
