"""A stage that notes every offset it takes; run as a process by test_halted_partitions.py."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.connectors.kafka import DeadLetter, LogRecord, Partition
from headrace.connectors.settings import SERVERS
from headrace.streams.host.config import host_config_from_environment
from headrace.streams.host.faust import run_stage


class NotingStage:
    """Appends "partition offset" to a file for each record."""

    name = "noting"

    def __init__(self, topic: str, file: Path) -> None:
        self.topics = (topic,)
        self._file = file

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        pass

    def next_deadline(self, where: Partition) -> int | None:
        return None

    async def take(self, records: Sequence[LogRecord]) -> Sequence[DeadLetter]:
        with self._file.open("a") as notes:
            notes.writelines(f"{record.partition} {record.offset}\n" for record in records)
        return ()


if __name__ == "__main__":
    topic, notes = sys.argv[1:]
    # Small takes, so that a partition is halted in the middle of what was written to it.
    config = host_config_from_environment("noting", wanted=SERVERS[:2], take_records=4, take_ms=20)
    os.chdir(config.data_directory.parent)
    run_stage(lambda: NotingStage(topic, Path(notes)), config)
