"""Loopback ports: finding free ones and refusing taken ones."""

from __future__ import annotations

import errno
import random
import socket
import threading

from headrace.infra.errors import InfraError, PortInUse, SettingsError

LOOPBACK = "127.0.0.1"

_handed_out: set[int] = set()
_lock = threading.Lock()


def free_port(start: int = 20000, stop: int = 32000) -> int:
    """Return a loopback port in [start, stop) that nothing uses now.

    The default range lies below the ephemeral one: there a client's own local port may take
    the place of a server that restarts. One process is never given the same port twice.

    Raises:
        InfraError: no port of the range is free.
    """
    candidates = list(range(start, stop))
    random.shuffle(candidates)
    with _lock:
        for port in candidates:
            if port not in _handed_out and _can_bind(port, reuse=False):
                _handed_out.add(port)
                return port
    raise InfraError(f"no free port on {LOOPBACK} between {start} and {stop}: stop some programs")


def ensure_free(port: int, what: str, setting: str) -> None:
    """Check that `what` can listen on a loopback port.

    Raises:
        PortInUse: something listens there; the message names port, part and setting.
    """
    if not _can_bind(port, reuse=True):
        raise PortInUse(
            f"port {port} on {LOOPBACK} is in use and {what} needs it: "
            f"stop what listens there, or set {setting} to another port"
        )


def check_port(port: int, field: str) -> None:
    """Check that a configured port number is one a user may listen on.

    Raises:
        SettingsError: it is outside 1024..65535.
    """
    if not 1024 <= port <= 65535:
        raise SettingsError(f"{field} is {port}: use a port from 1024 to 65535")


def answers(port: int, timeout: float = 0.5) -> bool:
    """Say whether something accepts connections on a loopback port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=timeout).close()
    except OSError:
        return False
    return True


def _can_bind(port: int, *, reuse: bool) -> bool:
    # With SO_REUSEADDR a port whose old connections linger in TIME_WAIT counts as free, as it
    # does for the servers themselves; a live listener still refuses.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if reuse:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
