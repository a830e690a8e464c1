"""A server that speaks as vLLM 0.32 does, by what was recorded from it, and samples a script."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.waiting import wait_until_async


@dataclass
class ScriptedVllm:
    """What the server does, and what it was told."""

    tokens: list[int] = field(default_factory=lambda: [72, 105])
    """What each completion is; after it, `reason`."""
    reason: str = "length"
    label: str = "default"
    commands: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    """Path to the message of a refusal."""
    refuse_generate: str = ""
    raw_logprobs: bool = False
    hold_after: int | None = None
    """After so many tokens a completion waits for `go`."""
    dropped: int = 0
    break_off: bool = False
    go: threading.Event = field(default_factory=threading.Event)
    paths: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        commands = [
            "pause",
            "resume",
            "start_weight_update",
            "update_weights",
            "finish_weight_update",
            "reset_prefix_cache",
            "update_weight_version",
        ]
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/weight_info", self._info),
                Route("/inference/v1/generate", self._generate, methods=["POST"]),
                *(Route(f"/{name}", self._command, methods=["POST"]) for name in commands),
            ]
        )

    async def _health(self, _: Request) -> Response:
        return Response()

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"data": [{"id": "policy", "max_model_len": 300}]})

    async def _info(self, _: Request) -> Response:
        return JSONResponse({"weight_version": self.label})

    async def _command(self, request: Request) -> Response:
        body = await request.json()
        name = request.url.path.removeprefix("/")
        self.commands.append(name)
        if message := self.refuse.pop(name, ""):
            error = {"message": message, "type": "InternalServerError", "param": None, "code": 500}
            return JSONResponse({"error": error}, 500)
        if name == "update_weights":
            self.paths.append(body["update_info"]["path"])
        if name == "finish_weight_update" and body.get("weight_version"):
            self.label = body["weight_version"]
        if name == "update_weight_version":
            self.label = body["new_version"]
        return JSONResponse({"message": "done"})

    async def _generate(self, request: Request) -> Response:
        body = await request.json()
        if not body.get("stream"):
            logprob = -0.5 if self.raw_logprobs else 0.0
            return JSONResponse({"choices": [_choice([7], logprob, "length", [(self.label, 1)])]})
        self.asked.append(body)
        if self.refuse_generate:
            error = {"message": self.refuse_generate, "type": "BadRequestError", "code": 400}
            return JSONResponse({"error": error}, 400)
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        labels: list[str] = []
        try:
            for at, token in enumerate(self.tokens):
                if at == self.hold_after:
                    await wait_until_async(self.go.is_set, "the test to go on", pause_s=0.005)
                labels.append(self.label)
                is_last = at == len(self.tokens) - 1
                if is_last and self.break_off:
                    return
                spans = [(label, 1) for label in labels] if is_last else None
                choice = _choice([token], -0.25, self.reason if is_last else None, spans)
                yield f"data: {json.dumps({'usage': None, 'choices': [choice]})}\n\n"
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.dropped += 1
            raise
        usage = {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
        yield f"data: {json.dumps({'usage': usage, 'choices': []})}\n\ndata: [DONE]\n\n"


def _choice(
    tokens: list[int], logprob: float, reason: str | None, labels: list[tuple[str, int]] | None
) -> dict[str, Any]:
    spans, at = [], 0
    for label, size in labels or []:
        spans.append({"version": label, "start": at, "end": at + size})
        at += size
    facts = [
        {
            "token_id": token,
            "logprob": logprob,
            "rank": 1,
            "top_logprobs": [{"token_id": token, "logprob": logprob, "rank": 1}],
        }
        for token in tokens
    ]
    return {
        "index": 0,
        "finish_reason": reason,
        "stop_reason": None,
        "token_ids": tokens,
        "weight_versions": spans or None,
        "logprobs": {"content": facts},
    }


@contextmanager
def serving(script: ScriptedVllm) -> Iterator[str]:
    """Its URL, while the block runs."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(script.app(), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        script.go.set()
        server.should_exit = True
        thread.join()
        listener.close()
