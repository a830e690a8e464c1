"""GET /metrics on loopback, in a thread of the worker."""

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from headrace.connectors.loopback import refusal

_HOST = "127.0.0.1"
_QUIET_S = 10.0


class MetricsServer:
    """Answers at a free port of loopback alone, and says where in a file for Prometheus.

    The file is a target list of Prometheus' file_sd.
    """

    def __init__(self, registry: CollectorRegistry, *, part: str, targets: Path) -> None:
        handler = type("Handler", (_Handler,), {"registry": registry})
        self._server = ThreadingHTTPServer((_HOST, 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()
        address = f"{_HOST}:{self._server.server_port}"
        self.url = f"http://{address}/metrics"
        targets.parent.mkdir(parents=True, exist_ok=True)
        listing = [{"targets": [address], "labels": {"headrace_part": part}}]
        draft = targets.with_suffix(".tmp")
        draft.write_text(json.dumps(listing))
        draft.replace(targets)

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    registry: CollectorRegistry
    timeout = _QUIET_S

    def do_GET(self) -> None:
        headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in self.headers.items()]
        if why := refusal("GET", headers):
            self._answer(HTTPStatus.FORBIDDEN, "text/plain; charset=utf-8", f"{why}\n".encode())
        elif self.path.partition("?")[0] != "/metrics":
            self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"see /metrics\n")
        else:
            self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(self.registry))

    def log_message(self, format: str, *_: object) -> None:  # the base's name
        pass

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
