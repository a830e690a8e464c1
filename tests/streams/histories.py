"""What may become of the workers of a log: they die, and lose partitions without knowing it."""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field

from headrace.streams.assemble.stage import AssembleStage
from headrace.streams.known import Known
from headrace.streams.stage import LogRecord
from tests.streams.assembling import PARTITIONS, TOPIC, CrashedError, World, make_stage


@dataclass
class Worker:
    """One process: what it has still to take, and what it took and has not acknowledged."""

    partitions: Sequence[int]
    stage: AssembleStage
    todo: list[LogRecord]
    told: list[LogRecord] = field(default_factory=list)


class History:
    """One log, its workers, and those that were replaced and go on for a while."""

    def __init__(
        self,
        records: Sequence[LogRecord],
        chance: random.Random,
        memory: int,
        runner: asyncio.Runner,
    ) -> None:
        self.world = World()
        self.runner = runner
        self.records = records
        self.chance = chance
        self.memory = memory
        self.acked = dict.fromkeys(range(PARTITIONS), 0)
        self.replaced: list[Worker] = []
        self.workers: list[Worker] = []
        self.assign()

    def assign(self) -> None:
        """Give the partitions out anew; who had them goes on, and is not heeded."""
        self.replaced += self.workers
        every = range(PARTITIONS)
        shares = self.chance.choice([[[*every]], [[partition] for partition in every]])
        self.workers = [self.begin(share) for share in shares]

    def begin(self, partitions: Sequence[int]) -> Worker:
        """A worker that reads on behind the last acknowledgement."""
        # The smaller its filter, the more it takes for known that is not.
        known = Known(self.chance.choice([8, 64, 1 << 12]))
        stage = make_stage(self.world, known, memory_bytes=self.memory)
        self.runner.run(stage.assigned([(TOPIC, partition) for partition in partitions]))
        todo = [
            one
            for one in self.records
            if one.partition in partitions and one.offset >= self.acked[one.partition]
        ]
        return Worker(partitions, stage, todo)

    def step(self, worker: Worker) -> None:
        """A worker takes, or stores, or both at a time; raises CrashedError."""
        size = self.chance.randint(1, 5) if self.chance.random() < 0.7 else 0
        taken, storing = worker.todo[:size], size == 0 or self.chance.random() < 0.3
        told = list(worker.told)

        acts: list[Coroutine[object, object, object]] = []
        acts += [worker.stage.take(taken)] if taken else []
        acts += [worker.stage.store()] if storing else []
        self.runner.run(_together(acts))
        worker.told += taken
        worker.todo = worker.todo[size:]
        if storing:
            worker.told = worker.told[len(told) :]
            if worker in self.workers:
                self.acked |= {one.partition: one.offset + 1 for one in told}

    def dies(self, worker: Worker) -> None:
        """Its last acknowledgements may be lost; another one reads on."""
        self.world.fuse = -1
        if worker not in self.workers:
            self.replaced.remove(worker)
            return
        self.workers.remove(worker)
        for partition in worker.partitions:
            lost = self.chance.randint(0, 3)
            self.acked[partition] = max(0, self.acked[partition] - lost)
        self.workers.append(self.begin(worker.partitions))


def live_through(
    records: Sequence[LogRecord],
    chance: random.Random,
    *,
    memory_bytes: int,
    deaths: int,
    moves: int,
) -> World:
    """What workers make of a log whose takes, stores, deaths and moves come at any point."""
    with asyncio.Runner() as runner:
        history = History(records, chance, memory_bytes, runner)
        _live_through(history, chance, deaths=deaths, moves=moves)
    return history.world


async def _together(acts: Sequence[Coroutine[object, object, object]]) -> None:
    """Do all of it at a time; where one dies all do, wherever they are."""
    tasks = [asyncio.ensure_future(act) for act in acts]
    if not tasks:
        return
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


def _live_through(history: History, chance: random.Random, *, deaths: int, moves: int) -> None:
    world = history.world
    fuses = sorted(chance.randint(1, 12) for _ in range(deaths))
    while busy := [one for one in history.workers if one.todo or one.told]:
        if moves and chance.random() < 0.15:
            moves -= 1
            history.assign()
            continue
        if world.fuse <= 0 and fuses:
            world.fuse, world.torn = fuses.pop(), chance.random() < 0.5
        late = [one for one in history.replaced if one.todo or one.told]
        worker = chance.choice(late if late and chance.random() < 0.4 else busy)
        try:
            history.step(worker)
        except CrashedError:
            history.dies(worker)
    world.fuse = -1
