"""An address in front of a server, at which nobody answers until it is opened."""

import socket
import socketserver
import threading
from urllib.parse import urlsplit

from headrace.infra.embedded.ports import free_port


class Door:
    """An address in front of a server. Nobody listens at it until it is opened."""

    def __init__(self, host: str, port: int) -> None:
        self._inside = (host, port)
        self._server: socketserver.ThreadingTCPServer | None = None
        self.port = free_port()
        self.url = ""

    @classmethod
    def to(cls, url: str) -> "Door":
        """A door in front of a server of HTTP; `url` of it is `door.url`."""
        parts = urlsplit(url)
        door = cls(str(parts.hostname), int(parts.port or 0))
        door.url = f"http://127.0.0.1:{door.port}{parts.path}"
        return door

    def open(self) -> None:
        inside = self._inside

        class Visitor(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection(inside) as other:
                    back = threading.Thread(target=_pump, args=(other, self.request), daemon=True)
                    back.start()
                    _pump(self.request, other)
                    back.join()

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Visitor)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one of the two went away
        pass
