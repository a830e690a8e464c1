"""What has arrived and waits: requests for a place in a batch, and versions to bring in."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from time import monotonic

from headrace.connectors.engines.transformers.row import DecodeRow
from headrace.connectors.engines.transformers.versions import VersionJob, Versions

# What other threads send: a request, a version to bring in, or a call to look again.
Message = DecodeRow | VersionJob | None


class Inbox:
    """The way in. Any thread may `send`; all else belongs to the engine's thread."""

    def __init__(self, versions: Versions, *, max_batch: int, window_s: float) -> None:
        self.versions = versions
        self.jobs: deque[VersionJob] = deque()
        """Versions to bring in, oldest first."""
        self.requests_total = 0
        self._max_batch = max_batch
        self._window_s = window_s
        self._sent: SimpleQueue[Message] = SimpleQueue()
        self._waiting: deque[DecodeRow] = deque()

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._waiting) + self._sent.qsize()

    def send(self, message: Message) -> None:
        """Hand something in; None only wakes the engine's thread."""
        self._sent.put(message)

    def take(self, *, block: bool, stop: Callable[[], bool]) -> None:
        """Sort in what has arrived. To block is to wait for something, and then a little for the
        requests of the same round, which come one after another: they are prefilled together."""
        if block:
            self._sort_in(self._sent.get())
            deadline = monotonic() + self._window_s
            while 0 < len(self._waiting) < self._max_batch and not stop():
                try:
                    self._sort_in(self._sent.get(timeout=max(0.0, deadline - monotonic())))
                except Empty:
                    break
        while True:
            try:
                self._sort_in(self._sent.get_nowait())
            except Empty:
                return

    def _sort_in(self, message: Message) -> None:
        if isinstance(message, DecodeRow):
            self.requests_total += 1
            self._waiting.append(message)
        elif message is not None:
            self.jobs.append(message)

    def admit(self, room: int, *, is_blocked: bool) -> dict[int, list[DecodeRow]]:
        """The waiting requests to start now, oldest first, by the version that serves them.

        Those that pin a version which is not in memory stay, and a job for it is added.

        Args:
            room: how many more requests the batches can hold.
            is_blocked: whether a version waits for a place.
        """
        chosen: dict[int, list[DecodeRow]] = {}
        later: deque[DecodeRow] = deque()
        while self._waiting and room > 0:
            row = self._waiting.popleft()
            if row.is_cancelled:
                continue
            version = self._version_for(row, is_blocked=is_blocked)
            if version is None:
                later.append(row)
            else:
                chosen.setdefault(version, []).append(row)
                room -= 1
        self._waiting.extendleft(reversed(later))
        return chosen

    def _version_for(self, row: DecodeRow, *, is_blocked: bool) -> int | None:
        """The version to prefill a waiting row with; None if it has to wait for one."""
        current, pinned = self.versions.current, row.request.version
        if pinned is None or pinned == current:
            return current
        if pinned not in self.versions.held:
            if not any(job.version == pinned for job in self.jobs):
                directory = self.versions.directories[pinned]
                self.jobs.append(VersionJob(pinned, directory, activate=False, future=Future()))
            return None
        # A version that waits for a place gets it when the old one's rows are done: no new ones.
        return None if is_blocked else pinned

    def withdraw(self, version: int) -> list[DecodeRow]:
        """Take out the waiting requests that pin a version."""
        pinning = [row for row in self._waiting if row.request.version == version]
        self._waiting = deque(row for row in self._waiting if row.request.version != version)
        return pinning

    def clear(self) -> Iterator[DecodeRow | VersionJob]:
        """Take out everything."""
        yield from self._waiting
        yield from self.jobs
        self._waiting.clear()
        self.jobs.clear()
