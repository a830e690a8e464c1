"""The data of an INSERT as a file that the engine reads by itself.

The engine's own way to take data in pieces (`send_insert`) reports errors of what is parsed, and
none of what is written: with too many parts or a full disk it says that all is well and stores
nothing. A whole statement does report them.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from headrace.infra.embedded.clickhouse.errors import NOT_ENOUGH_SPACE, QueryError

IN_MEMORY_BYTES = 64 << 20


class InsertData:
    """Bytes that grow, and the name under which this process can open them.

    In memory (Linux), and in a file in `folder` beyond `in_memory_bytes`. Not for two threads at a
    time. Raises QueryError 243 where the disk has no room.
    """

    def __init__(self, folder: Path, in_memory_bytes: int = IN_MEMORY_BYTES) -> None:
        self._folder = folder
        self._bound = in_memory_bytes
        self._size = 0
        self._on_disk = sys.platform != "linux"
        self._file: IO[bytes] = self._disk() if self._on_disk else self._memory()

    @property
    def path(self) -> str:
        """What the engine opens, while this is not closed."""
        return self._file.name if self._on_disk else f"/proc/self/fd/{self._file.fileno()}"

    @property
    def empty(self) -> bool:
        """Whether nothing was added."""
        return not self._size

    def add(self, block: bytes) -> None:
        """Append."""
        self._size += len(block)
        try:
            if not self._on_disk and self._size > self._bound:
                self._move()
            self._file.write(block)
        except OSError as error:
            raise QueryError(
                NOT_ENOUGH_SPACE,
                f"the data of the INSERT cannot be kept in {self._folder}: {error.strerror}. "
                "(NOT_ENOUGH_SPACE)",
            ) from error

    def close(self) -> None:
        """Let the bytes go."""
        self._file.close()

    def __enter__(self) -> Self:
        """Keep it open for the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _move(self) -> None:
        held, self._file = self._file, self._disk()
        self._on_disk = True
        with held:
            held.seek(0)
            shutil.copyfileobj(held, self._file)

    def _disk(self) -> IO[bytes]:
        return tempfile.NamedTemporaryFile(dir=self._folder, prefix="insert-", buffering=0)

    @staticmethod
    def _memory() -> IO[bytes]:
        return os.fdopen(os.memfd_create("insert"), "w+b", buffering=0)
