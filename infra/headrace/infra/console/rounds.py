"""Callers that ask the same thing at the same time share one answer."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class Rounds:
    """Answers in rounds: who asks while the same is being answered waits for the next round, and
    all who wait share it. So an answer is never begun before its question came, and however many
    ask at once, two rounds are run at most. Safe to share between threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Hashable, Future[Any]] = {}
        self._next: dict[Hashable, Future[Any]] = {}

    def ask(self, key: Hashable, answer: Callable[[], Answer]) -> Answer:
        """What `answer` gives; of callers with an equal `key` one calls it for all.

        Raises what it raises, for each of them.
        """
        with self._lock:
            own, before = self._next.get(key), self._running.get(key)
            leads = own is None
            if own is None:
                own = self._next[key] = Future()
        if leads:
            self._run(key, own, before, answer)
        found: Answer = own.result()
        return found

    def _run(
        self,
        key: Hashable,
        own: "Future[Any]",
        before: "Future[Any] | None",
        answer: Callable[[], Any],
    ) -> None:
        if before is not None:
            wait([before])
        with self._lock:
            del self._next[key]
            self._running[key] = own
        try:
            own.set_result(answer())
        except BaseException as error:  # also an interrupt: who waits must not wait for ever
            own.set_exception(error)
        finally:
            with self._lock:
                if self._running.get(key) is own:  # the next round may have begun
                    del self._running[key]
