"""What feedback is about, looked up again while the log may hold it and the tables do not yet.

Rows follow the log: of an episode that has just ended, or while the assembler is started again,
they lack what everybody else knows. How far it is says when nobody knows an id.
"""

import asyncio
import time
from collections.abc import Callable

from headrace.connectors.feedback.errors import NobodyKnows, NotYet
from headrace.connectors.feedback.places import Place, Places
from headrace.connectors.kafka import KafkaConfig, Offsets, partitions_of
from headrace.schemas import partition_of
from headrace.schemas.topics import StageGroup, Topic

WAIT_S = 60.0
PAUSE_S = 0.2


class Unread:
    """How much of the log, as it stood when this was asked first, the tables may lack.

    rollout_id: of the episode that is looked for; empty: it may be in any partition. group: the
    consumer group that writes the rows, and then acknowledges. Blocking, and not for sharing
    between threads; raises KafkaClientError.
    """

    def __init__(
        self, kafka: KafkaConfig, rollout_id: str = "", group: str = StageGroup.ASSEMBLE
    ) -> None:
        self._kafka = kafka
        self._rollout_id = rollout_id
        self._group = group
        self._offsets = Offsets(kafka)
        self._ends: dict[tuple[str, int], int] = {}

    def records(self) -> int:
        """Records that are not acknowledged yet; 0: every row is there."""
        if not self._ends:
            number = partitions_of(self._kafka, Topic.SPANS)
            mine = [partition_of(self._rollout_id, number)] if self._rollout_id else range(number)
            self._ends = self._offsets.ends((str(Topic.SPANS), one) for one in mine)
        committed = self._offsets.committed(self._group, self._ends)
        return sum(max(0, end - committed.get(where, 0)) for where, end in self._ends.items())


class Search:
    """One id, looked up until it is found or nothing can be left to find it in.

    what: is looked for, in words ("no episode r/a of project p"). look: asks the tables once.
    unread: tells how many records they may lack.
    """

    def __init__(
        self,
        what: str,
        look: Callable[[], Place | None],
        unread: Callable[[], int],
        *,
        wait_s: float = WAIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._look = look
        self._unread = unread
        self._clock = clock
        self._end = clock() + wait_s

    def step(self) -> Place | None:
        """The place; None: ask again in a moment.

        Raises:
            NobodyKnows: the log holds no such id either.
            NotYet: the assembler is too far behind to tell.
        """
        if (place := self._look()) is not None:
            return place
        if not (left := self._unread()):
            if (place := self._look()) is not None:  # it came while the other was asked
                return place
            raise NobodyKnows(f"{self._what} is on record")
        if self._clock() > self._end:
            raise NotYet(
                f"{self._what} is on record, and {left} records of the log are not assembled yet: "
                "send it again; `headrace status` shows whether assemble runs"
            )
        return None

    def find(self) -> Place:
        """`step` until it tells."""
        while (place := self.step()) is None:
            time.sleep(PAUSE_S)
        return place

    async def afind(self) -> Place:
        """`find` in an event loop; no thread is held between two looks."""
        while (place := await asyncio.to_thread(self.step)) is None:  # noqa: ASYNC110 - no event is set
            await asyncio.sleep(PAUSE_S)
        return place


UnreadOf = Callable[[str], Unread]
"""Makes the `Unread` of a rollout, or of all ('')."""


def search_response(places: Places, unread: UnreadOf, project: str, response_id: str) -> Search:
    """The search for the episode that an answer was given in."""
    return Search(
        f"no answer {response_id!r} of project {project}",
        lambda: places.of_response(project, response_id),
        unread("").records,
    )


def search_episode(places: Places, unread: UnreadOf, place: Place) -> Search:
    """The search for an episode by its id."""
    return Search(
        f"no episode {place.episode} of project {place.project}",
        lambda: places.of_episode(place),
        unread(place.rollout_id).records,
    )
