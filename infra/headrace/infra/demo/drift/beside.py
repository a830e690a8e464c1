"""What goes on beside a demo that drifts, each in a thread: its users, and the canary."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from headrace.connectors.clickhouse import ClickHouse, ClickHouseError
from headrace.infra.canary.moves import Did
from headrace.infra.canary.verdict import Rules
from headrace.infra.canary.watch import Report, Trials, watch
from headrace.infra.demo.cases import Case
from headrace.infra.demo.drift.parts import users_of
from headrace.infra.errors import InfraError
from headrace.infra.settings import Settings

LOOK_S = 1.0
TRIAL_S = 900.0
ENDS = (Did.PROMOTED, Did.ROLLED_BACK, Did.GIVEN_UP, Did.KEPT)


@contextmanager
def judging(settings: Settings, case: Case) -> Iterator[None]:
    """The users judge answers while the block lasts; a server that is away is waited for."""
    client = ClickHouse(settings.clickhouse_config)
    key = settings.gateway.key_for("default") or "any"
    users = users_of(case, client, settings.gateway_url, key, settings.policy.name)
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(LOOK_S):
            try:
                users.look(stop)
            except ClickHouseError:
                continue  # what was not judged is found again

    thread = threading.Thread(target=run, name="users", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        client.close()


class Canary:
    """What `headrace canary` does, in a thread; tells its moves on the console."""

    def __init__(self, settings: Settings, console: Console) -> None:
        own = settings.canary
        rules = Rules(error=own.error, comparisons=own.comparisons)
        self.ended: dict[int, Did] = {}
        """How the trials of versions ended; KEPT: the name was kept on it when it was begun."""
        self.serving = -1
        """The version that the policy's name stands for."""
        self._every_s = own.every_s
        self._console = console
        self._trials = Trials(settings, [settings.policy.name], rules=rules, share=own.share)
        self._failure: list[BaseException] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look while the block lasts."""
        stop = threading.Event()

        def run() -> None:
            try:
                watch(self._trials, self._every_s, stop, self._tell)
            except BaseException as error:  # handed to the demo's own thread
                self._failure.append(error)

        thread = threading.Thread(target=run, name="canary", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self._trials.close()

    def await_end(self, version: int, check: Callable[[], None]) -> None:
        """Until the trial of a version has ended. Raises InfraError where it does not."""
        end = time.monotonic() + TRIAL_S
        with self._console.status(f"version {version} is tried"):
            while version not in self.ended:
                check()
                for failure in self._failure:
                    raise failure
                if time.monotonic() > end:
                    raise InfraError(
                        f"the trial of version {version} did not end within {TRIAL_S:.0f} s: "
                        "`headrace canary --once` says how far it is"
                    )
                time.sleep(LOOK_S)

    def _tell(self, report: Report) -> None:
        if (move := report.move) is None:
            return
        did = str(move.did).replace("_", " ")
        self._console.print(
            f"canary: version {move.version} {did}: {move.traffic.why}",
            highlight=False,
            soft_wrap=True,
        )
        self.serving = move.traffic.version
        if move.did in ENDS:
            self.ended[move.version] = move.did
