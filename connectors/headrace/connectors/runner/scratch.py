"""A folder for each attempt to write to, gone after it, whatever becomes of the runner."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.connectors.commands.errors import JournalError
from headrace.connectors.commands.folder import locked

logger = logging.getLogger(__name__)

SCRATCH = "HEADRACE_SCRATCH"
"""Where an agent finds it; its temporary files are made there too."""
_LOCK = "lock"


class Scratch:
    """The folders of one runner. Safe to share between threads.

    Removes those of runners that were killed when it is made. Raises JournalError.
    """

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if directory.stat().st_uid != os.getuid():
                raise OSError("it is another user's")
            _remove_abandoned(directory)
            hidden = Path(tempfile.mkdtemp(prefix=".", dir=directory))
            self._lock = locked(hidden / _LOCK)
            self._own = hidden.rename(directory / hidden.name[1:])  # seen only when it is locked
        except OSError as error:
            raise _unusable(directory, error) from error

    @contextmanager
    def folder(self, attempt: str) -> Iterator[Path]:
        """A new folder that goes with the block. Raises JournalError."""
        path = self._own / attempt
        try:
            path.mkdir(mode=0o700)
        except OSError as error:
            raise _unusable(self._own, error) from error
        try:
            yield path
        finally:
            _remove(path)

    def close(self) -> None:
        """Remove all of them."""
        _remove(self._own)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _unusable(directory: Path, error: OSError) -> JournalError:
    return JournalError(
        f"{directory} cannot be used ({error}): name a folder that this user may write, in "
        "[data] directory"
    )


def scratch_environment(folder: Path) -> dict[str, str]:
    """What makes an agent use its folder."""
    return dict.fromkeys((SCRATCH, "TMPDIR"), str(folder))


def _remove_abandoned(directory: Path) -> None:
    for path in directory.iterdir():
        if path.name.startswith("."):
            continue
        try:
            lock = locked(path / _LOCK)
        except OSError:  # gone meanwhile, or not ours
            continue
        if lock is not None:
            _remove(path)
            os.close(lock)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        logger.warning("%s could not be removed whole: an agent still writes to it?", path)
