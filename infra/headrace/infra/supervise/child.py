"""Becomes a part's command, after asking the kernel to kill it when its supervisor dies.

Run by path with the standard library alone: `python -I -S child.py PARENT_PID COMMAND...`.
A step between fork and exec would do the same, but is not safe in a process with threads.
"""

from __future__ import annotations

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replace this process by the command on the command line."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":  # elsewhere a part outlives a supervisor that is killed
        import ctypes

        # SIGKILL, since a part that hangs on SIGTERM would be an orphan; all survive it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the supervisor died before the request was made
        sys.exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


main()
