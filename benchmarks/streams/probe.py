"""When rows become visible: asks ClickHouse again and again, as a reader would."""

import threading
import time

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig

_PAUSE_S = 0.03
_MOST = 256  # of the oldest, in one query
_APART_S = 2.0  # between groups that are watched: to ask for all would be a load of its own
_SPANS = (
    "SELECT rollout_id AS id FROM spans WHERE "
    "(project, rollout_id, attempt) IN {keys:Array(Tuple(String, String, String))} "
    "AND kind = 'attempt.end'"
)
_GROUPS = (
    "SELECT group_id AS id FROM groups WHERE "
    "(project, group_id) IN {keys:Array(Tuple(String, String))} AND state = 'final'"
)


class Probe(threading.Thread):
    """Notes when the end span of a rollout, and the final row of a group, can first be queried.

    It watches a group each two seconds. A note is taken when the answer is there, so it is late by
    up to a query and a pause (some 50 ms), never early: more would be a load of its own, and was
    most of ClickHouse's.
    """

    def __init__(self, config: ClickHouseConfig, project: str) -> None:
        super().__init__(name="probe", daemon=True)
        self._tables = ClickHouse(config)
        self._project = project
        self._lock = threading.Lock()
        self._rollouts: dict[str, str] = {}
        self._groups: dict[str, None] = {}
        self.watched = 0
        """Rollouts that were watched."""
        self._chosen = ""
        self._chosen_at = -_APART_S
        self._spans_seen: dict[str, int] = {}
        self._groups_seen: dict[str, int] = {}
        self._done = threading.Event()

    def watch(self, rollout: str, attempt: str, group: str) -> None:
        """The rollout's end span is on its way; it is watched where its turn has come."""
        now = time.monotonic()
        if group != self._chosen:
            if now - self._chosen_at < _APART_S:
                return
            self._chosen, self._chosen_at = group, now
        with self._lock:
            self.watched += 1
            self._rollouts[rollout] = attempt
            self._groups[group] = None

    def finish(self, timeout: float) -> tuple[dict[str, int], dict[str, int]]:
        """Wait until all that is watched was seen; nanoseconds since the epoch, by id."""
        end = time.monotonic() + timeout
        while (self._rollouts or self._groups) and time.monotonic() < end:
            time.sleep(0.05)
        self._done.set()
        self.join()
        self._tables.close()
        return self._spans_seen, self._groups_seen

    def run(self) -> None:
        """Ask until told to end."""
        while not self._done.wait(_PAUSE_S):
            with self._lock:
                rollouts = list(self._rollouts.items())[:_MOST]
                groups = list(self._groups)[:_MOST]
            if rollouts:
                keys: list[tuple[str, ...]] = [(self._project, r, a) for r, a in rollouts]
                self._note(_SPANS, keys, self._rollouts, self._spans_seen)
            if groups:
                keys = [(self._project, group) for group in groups]
                self._note(_GROUPS, keys, self._groups, self._groups_seen)

    def _note(
        self,
        sql: str,
        keys: list[tuple[str, ...]],
        waiting: dict[str, str] | dict[str, None],
        seen: dict[str, int],
    ) -> None:
        found = {str(row["id"]) for row in self._tables.query(sql, {"keys": keys})}
        now = time.time_ns()
        with self._lock:
            for name in found:
                waiting.pop(name, None)
                seen.setdefault(name, now)
