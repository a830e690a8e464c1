"""An agent's command as the process of `headrace run`: signals, output and exit code pass through.

The command stays in our process group, so a terminal treats both as one job.
"""

import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import NoReturn

from headrace.connectors.commands.errors import CommandUnusable

FORWARDED = frozenset(
    {
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    }
)
_FROM_KERNEL = 0x80  # si_code SI_KERNEL: the terminal sent it, to the command as well
_TAIL = 200_000  # bytes of its output that are kept for the last line
_OUTPUT_S = 2.0  # for output that its own children still hold


class Command:
    """A running command. Start it before any thread, in the main thread."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], keep_open: int
    ) -> None:
        """Start it; `keep_open` is a descriptor that it inherits. Raises CommandUnusable."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *FORWARDED})
        self._tail = b""
        self._reader: threading.Thread | None = None
        os.set_inheritable(keep_open, True)
        copied = not os.isatty(1)
        ours, theirs = os.pipe() if copied else (-1, -1)
        try:
            self.pid = os.posix_spawnp(
                arguments[0],
                list(arguments),
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 1)] if copied else [],
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        except OSError as error:
            raise CommandUnusable(f"{arguments[0]} cannot be started: {error.strerror}") from error
        finally:
            os.set_inheritable(keep_open, False)
            if copied:
                os.close(theirs)
        if copied:
            self._reader = threading.Thread(target=self._copy, args=(ours,), daemon=True)
            self._reader.start()

    @property
    def output(self) -> str:
        """The end of what it has written to stdout, where that is no terminal."""
        return self._tail.decode(errors="replace")

    def wait(self) -> int:
        """Wait for its end, passing signals on; its exit code, negative for a signal."""
        waited_for = {signal.SIGCHLD, *FORWARDED}
        while True:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                break
            info = signal.sigwaitinfo(waited_for)
            if info.si_signo != signal.SIGCHLD and info.si_code != _FROM_KERNEL:
                os.kill(self.pid, info.si_signo)
        if self._reader is not None:
            self._reader.join(_OUTPUT_S)
        return os.waitstatus_to_exitcode(status)

    def _copy(self, source: int) -> None:
        try:
            while data := os.read(source, 65_536):
                self._tail = (self._tail + data)[-_TAIL:]
                while data:
                    data = data[os.write(1, data) :]
        except OSError:  # nobody reads our output: then nobody reads the command's
            pass
        finally:
            os.close(source)


def leave_as(code: int) -> NoReturn:
    """End this process as the command ended: with its code, or by its signal."""
    sys.stdout.flush()
    sys.stderr.flush()
    if code >= 0:
        os._exit(code)
    number = -code
    if number in {*FORWARDED, signal.SIGKILL, signal.SIGALRM, signal.SIGPIPE}:
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(128 + number)  # as shells say it, without a core of ours
