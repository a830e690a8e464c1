"""A version on its way to disk, while the trainer reads on."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from headrace.trainer.checkpoint import Saved


@dataclass(kw_only=True, slots=True, frozen=True)
class InFlight:
    """A step that was taken and is not committed: nobody but this process knows of it."""

    version: int
    parent: int
    reference: str
    """What its KL was taken to."""
    groups: Sequence[str]
    """Ids of those it was trained on; none under version 0."""
    samples: int
    """How many of theirs were trained."""
    metrics: Mapping[str, float]
    saved: Future[tuple[Saved, float]]
    """Its checkpoint and the seconds that it took, once it is whole and on disk."""


class Disk:
    """Writes one checkpoint at a time in a thread of its own.

    What it writes is read from the live weights, so no step may be taken meanwhile: a copy would
    cost the memory of masters and moments once more.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")

    def begin(self, save: Callable[[], Saved]) -> Future[tuple[Saved, float]]:
        """Start to write."""

        def timed() -> tuple[Saved, float]:
            began = time.monotonic()
            return save(), time.monotonic() - began

        return self._thread.submit(timed)

    def close(self) -> None:
        """Returns when nothing is being written."""
        self._thread.shutdown()
