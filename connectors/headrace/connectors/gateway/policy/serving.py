"""Keeps the engine on the version that the policy's log names."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from headrace.connectors.engines import Engine, EngineError
from headrace.connectors.gateway.errors import BackendFailed, ModelNotFound, NotReady
from headrace.connectors.gateway.policy.versions import PolicyBook, located
from headrace.schemas import PolicyRecord, PolicyVersion

logger = logging.getLogger(__name__)

# Loading a version takes a second or two; whoever waited this long is better served by the old.
NEWEST_S = 15.0


class PolicyServing:
    """One policy, its book, and the engine that serves it. Belongs to one event loop.

    `start` what the log says, `take` what it says later; `run` switches the engine, and never
    drops a request: the engine swaps between two decode steps.
    """

    def __init__(
        self,
        policy: str,
        engine: Engine,
        *,
        source: str,
        serve_base: bool,
        retry_s: float,
        is_frozen: bool = False,
        checkpoints: Path | None = None,
    ) -> None:
        """is_frozen: version 0 is served for ever; later ones and traffic change nothing.
        checkpoints: where weights lie here; else where the trainer said that it put them."""
        self.engine = engine
        self.load_failures = 0
        self.is_frozen = is_frozen
        self._book = PolicyBook(policy, is_frozen=is_frozen)
        self._source = source
        self._serve_base = serve_base
        self._retry_s = retry_s
        self._checkpoints = checkpoints
        self._is_read = False
        self._served: PolicyVersion | None = None
        self._loaded: dict[int, str] = {}
        self._trouble = ""
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._switching = asyncio.Lock()

    @property
    def policy(self) -> str:
        """The policy's name."""
        return self._book.policy

    @property
    def name(self) -> str:
        """What tells it apart: the policy's name, or `name@0` where it is frozen."""
        return f"{self.policy}@0" if self.is_frozen else self.policy

    @property
    def served(self) -> int | None:
        """The version that the policy's name is answered with; None before the first."""
        return None if self._served is None else self._served.version

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that a client may pin, ascending."""
        return tuple(sorted(self._book.versions))

    @property
    def is_ready(self) -> bool:
        """Whether calls are answered, be it by base weights."""
        return self._served is not None or self._serve_base

    @property
    def waiting_for(self) -> str:
        """What has to happen before the log's version is served; empty if it is."""
        if not self._is_read:
            return f"{self._source} to be read"
        target = self._book.target
        if target is None:
            return f"{self._book.awaited} on {self._source}"
        if self._served != target:
            trouble = f" ({self._trouble})" if self._trouble else ""
            return f"the weights of {self.policy}@{target.version} from {target.uri}{trouble}"
        return ""

    def start(self, records: Iterable[PolicyRecord]) -> None:
        """Begin with everything that was on the log; also after the log was read again."""
        book = PolicyBook(self.policy, is_frozen=self.is_frozen)
        book.take(records)
        self._book, self._is_read = book, True
        self._note_change()

    def take(self, records: Iterable[PolicyRecord]) -> None:
        """Go on with further records."""
        self._book.take(records)
        self._note_change()

    def share_of(self, rollout_id: str) -> int | None:
        """The version that a rollout gets by its share of the traffic; None: the one served.

        An engine that holds one version at a time serves that to all.
        """
        return None if self.engine.max_versions == 1 else self._book.share_of(rollout_id)

    def admit(self, pinned: int | None) -> bool:
        """Whether a call can be answered by a published version; False: by base weights.

        Raises:
            NotReady: nothing is served yet.
            ModelNotFound: the pinned version was never published.
        """
        if pinned is not None:
            if pinned not in self._book.versions and self._is_read:
                pruned = pinned in self._book.pruned
                why = "was pruned (its weights are not kept)" if pruned else "was not published"
                raise ModelNotFound(
                    f"{self.policy}@{pinned} does not exist: version {pinned} {why}",
                    param="model",
                )
            if pinned in self._book.versions:
                return True
        elif self.is_ready:
            return self._served is not None
        raise NotReady(f"the gateway waits for {self.waiting_for}")

    async def ensure(self, version: int) -> None:
        """Have a published version's weights known to the engine, so that it can be pinned.

        Raises:
            BackendFailed: its weights cannot be loaded.
            ModelNotFound: the engine holds one version at a time, and that is another.
        """
        wanted = self._book.versions[version]
        if self.engine.max_versions == 1 and version != self.engine.current:
            raise ModelNotFound(
                f"{self.policy}@{version} cannot be asked for here: the engine holds one version "
                f"at a time, now {self.policy}@{self.engine.current}",
                param="model",
            )
        if self._loaded.get(version) == wanted.uri:
            return
        async with self._switching:
            if self._loaded.get(version) == wanted.uri:
                return
            try:
                # A pin must not change what the name means, not even for a moment.
                await self._load(wanted, activate=False)
            except EngineError as error:
                self.load_failures += 1
                raise BackendFailed(
                    f"the weights of {self.policy}@{version} cannot be loaded: {error}"
                ) from error

    async def newest(self) -> None:
        """Return once the log's version is served, or cannot be, or was waited for long enough.

        The task source admits rollouts as soon as a version is published. One that began on the
        weights about to be replaced would be a version staler than it was admitted for.
        """
        if self._served is None:  # base weights: there is nothing to be behind of
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), NEWEST_S)

    async def run(self) -> None:
        """Follow the book until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while (target := self._book.target) is not None and target != self._served:
                await self._switch(target)

    async def _switch(self, target: PolicyVersion) -> None:
        try:
            async with self._switching:
                if self._loaded.get(target.version) == target.uri:
                    await self.engine.activate(target.version)
                else:
                    await self._load(target)
        except EngineError as error:
            self.load_failures += 1
            self._trouble = str(error)
            self._settled.set()  # nobody waits for weights that cannot be loaded
            logger.error(
                "%s@%d cannot be loaded from %s, %s goes on: %s",
                self.policy,
                target.version,
                target.uri,
                "nothing" if self._served is None else f"version {self._served.version}",
                error,
            )
            await self._pause()
            return
        self._trouble = ""
        self._served = target
        if not self.waiting_for:
            self._settled.set()
        logger.info("serving %s@%d", self.policy, target.version)

    def _note_change(self) -> None:
        self._changed.set()
        if self.waiting_for:
            self._settled.clear()
        else:
            self._settled.set()

    async def _load(self, version: PolicyVersion, *, activate: bool = True) -> None:
        where = located(version.uri, self._checkpoints)
        await self.engine.load(version.version, where, activate=activate)
        self._loaded[version.version] = version.uri

    async def _pause(self) -> None:
        # The next record may bring another target: then try that one at once.
        try:
            await asyncio.wait_for(self._changed.wait(), self._retry_s)
        except TimeoutError:
            return
        self._changed.clear()
