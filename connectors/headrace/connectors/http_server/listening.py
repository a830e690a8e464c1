"""The address of a server, and its end."""

import socket
from types import FrameType

import uvicorn


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises OSError, and then leaves none behind."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


class Server(uvicorn.Server):
    """uvicorn, which sends itself the signal again once it has stopped: that would end the process
    before its other parts are closed. This one only stops."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
