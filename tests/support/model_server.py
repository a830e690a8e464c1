"""Somebody else's OpenAI-compatible server: a model that says what a test has it say."""

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(kw_only=True, slots=True)
class ModelServer:
    """A server that runs: what it is to say, and what it was asked."""

    url: str
    """Without `/v1`."""
    says: list[str]
    """The next answers, in order; the last one is for all that follow."""
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Path and body of each request."""
    agents: list[str] = field(default_factory=list)
    """Who each request says that it comes from; empty: it does not say."""

    def answer(self) -> str:
        """What is said next."""
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]


@contextmanager
def model_server(*says: str) -> Iterator[ModelServer]:
    """Answers every model's chat completions while the block runs."""
    numbers = itertools.count(1)

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.seen.append((self.path, body))
            made.agents.append(self.headers.get("x-headrace-agent", ""))
            message = {"role": "assistant", "content": made.answer()}
            answer = {
                "id": f"chatcmpl-theirs-{next(numbers)}",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
            }
            told = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        made = ModelServer(url=f"http://127.0.0.1:{server.server_port}", says=list(says))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
