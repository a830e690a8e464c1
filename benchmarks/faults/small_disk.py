"""A disk of a given size that can be filled and emptied, without the rights of root.

A tmpfs in a user and mount namespace of its own (Linux), which a keeper holds: so it outlives the
processes that write to it, and only they and whoever asks by the keeper see it.
"""

import errno
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_BLOCK = 1 << 20
_MOUNT = 'mount -t tmpfs -o size="$2" tmpfs "$1" && echo mounted && exec cat'


def small_disks_are_possible() -> bool:
    """Whether this machine lets us make one."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return False
    asked = ["unshare", "--user", "--map-root-user", "--mount", "true"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


class SmallDisk:
    """`size` bytes at a directory, for the processes of `command`, while the block lasts."""

    def __init__(self, directory: Path, size: int) -> None:
        self._directory = directory.absolute()
        self._size = size
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Make it. Raises OSError where the machine does not let us."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._keeper = subprocess.Popen(
            [
                "unshare", "--user", "--map-root-user", "--mount",
                "sh", "-c", _MOUNT, "sh", str(self._directory), str(self._size),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != b"mounted\n":
            raise OSError(f"no file system could be mounted at {self._directory}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let it go, with what is on it."""
        if self._keeper is not None:
            self._keeper.communicate()  # its input ends, and so does it

    def command(self, command: list[str]) -> list[str]:
        """A command that runs where the disk is, in the folder where it was started."""
        target = ["--target", str(self._pid), "--user", "--mount", "--preserve-credentials"]
        return ["nsenter", *target, f"--wd={Path.cwd()}", "--", *command]

    def fill(self) -> int:
        """Leave no room on it; the bytes that this took."""
        with self._filler.open("ab", buffering=0) as file:
            size = _BLOCK
            while size:
                try:
                    file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2
            return file.tell()

    def free(self) -> None:
        """Give the room back that `fill` took."""
        with suppress(FileNotFoundError):
            self._filler.unlink()

    @property
    def _pid(self) -> int:
        assert self._keeper is not None, "use it in its with block"
        return self._keeper.pid

    @property
    def _filler(self) -> Path:
        inside = self._directory.relative_to("/")
        return Path("/proc", str(self._pid), "root", inside, "filler")
