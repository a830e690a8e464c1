"""A gateway with a scripted engine and telemetry, driven from plain test functions."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
import uvicorn

from headrace.connectors.engines import (
    EngineStats,
    Generation,
    GenerationRequest,
    Increment,
    InvalidRequest,
    InvalidWeights,
    Messages,
    OnIncrement,
    Tools,
    UnknownVersion,
)
from headrace.connectors.engines.policy import PolicySettings
from headrace.connectors.engines.upstream import Upstream, UpstreamConfig
from headrace.connectors.gateway import GatewayConfig
from headrace.connectors.gateway.app import create_app
from headrace.connectors.gateway.backends.forwarded import Forwarded
from headrace.connectors.gateway.backends.sampled import Sampled
from headrace.connectors.gateway.policy.policies import Policies, Served
from headrace.connectors.gateway.policy.serving import PolicyServing
from headrace.connectors.gateway.state import GatewayState
from headrace.connectors.privacy import Privacy
from headrace.schemas import PolicyRecord, PolicyVersion, Span, Traffic
from tests.support.waiting import wait_until

T = TypeVar("T")
CHAT = "/v1/chat/completions"
WAIT = 20.0

ANSWER = Generation(
    token_ids=(44, 45, 2),
    logprobs=(-0.5, -0.25, -0.125),
    versions=(0, 0, 0),
    text="<calc>1 + 2</calc>",
    finish_reason="stop",
    stop=None,
    stop_token_included=True,
)


class FakeEngine:
    """Answers what the test says, one token id a character of the prompt's text."""

    def __init__(self) -> None:
        self.answer = ANSWER
        self.pieces: tuple[str, ...] = ()
        """What the text grows by before it is whole."""
        self.error: Exception | None = None
        self.late_error: Exception | None = None
        """Raised after the pieces."""
        self.hold: asyncio.Event | None = None
        self.pause: asyncio.Event | None = None
        """Awaited after each piece."""
        self.hold_load: asyncio.Event | None = None
        self.requests: list[GenerationRequest] = []
        self.cancelled = 0
        self.loads: list[tuple[int, str]] = []
        self.bad_directories: set[str] = set()
        self.known: set[int] = set()
        self.current = -1

    @property
    def model_name(self) -> str:
        return "tiny"

    def versions(self) -> tuple[int, ...]:
        return tuple(sorted(self.known))

    max_versions = 2
    max_sequence = 2048
    chat_template = ""
    end_ids = frozenset({2})

    def render(self, messages: Messages, tools: Tools = ()) -> str:
        if any(message["content"] == "unrenderable" for message in messages):
            raise InvalidRequest("no such conversation")
        return "".join(message["content"] for message in messages)

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(ord(c) for c in text)

    def token_bytes(self, token_ids: Sequence[int]) -> tuple[bytes, ...]:
        return tuple(chr(token).encode() for token in token_ids)

    async def generate(
        self, request: GenerationRequest, on_increment: OnIncrement | None = None
    ) -> Generation:
        self.requests.append(request)
        if request.version is not None and request.version not in self.known:
            raise UnknownVersion(f"{request.version}")
        try:
            if self.hold is not None:
                await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        version = self.current if request.version is None else request.version
        versions = (version,) * len(self.answer.versions)
        if on_increment is not None:
            pieces = self.pieces or (self.answer.text,)
            for at, piece in enumerate(pieces):
                end = None if at + 1 == len(pieces) else at + 1
                on_increment(
                    Increment(
                        token_ids=self.answer.token_ids[at:end],
                        logprobs=self.answer.logprobs[at:end],
                        versions=versions[at:end],
                        text=piece,
                    )
                )
                await self._between()
        if self.late_error is not None:
            raise self.late_error
        return replace(self.answer, versions=versions)

    async def _between(self) -> None:
        try:
            await (asyncio.sleep(0) if self.pause is None else self.pause.wait())
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def load(self, version: int, directory: Path, *, activate: bool = True) -> None:
        if str(directory) in self.bad_directories:
            raise InvalidWeights(f"{directory} holds no weights")
        if self.hold_load is not None:
            await self.hold_load.wait()
        self.loads.append((version, str(directory)))
        self.known.add(version)
        if activate:
            self.current = version

    async def activate(self, version: int) -> None:
        self.current = version

    def stats(self) -> EngineStats:
        return EngineStats(
            running=2,
            waiting=3,
            requests_total=4,
            failures_total=0,
            tokens_total=5,
            prompt_tokens_total=6,
            shared_prompt_tokens_total=0,
            swaps_total=len(self.loads),
        )

    async def close(self) -> None:
        pass


async def _others_ended() -> None:
    """Every other task of the loop is cancelled, and has ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class FakeTelemetry:
    """Keeps spans; may be slow or fail."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.reached = threading.Event()
        self.hold: asyncio.Event | None = None
        self.error: Exception | None = None

    async def aemit_durably(self, span: Span) -> str:
        self.reached.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        self.spans.append(span)
        return "delivered"

    async def aemit_all_durably(self, spans: Sequence[Span]) -> str:
        for span in spans:
            await self.aemit_durably(span)
        return "delivered"


class Harness:
    """One gateway on an event loop of its own."""

    def __init__(
        self, config: GatewayConfig, forwarded: Forwarded | None = None, chat_template: str = ""
    ) -> None:
        roles = config.roles
        policies = {name: (name, False) for name in roles.followed}
        policies |= {f"{name}@0": (name, True) for name in roles.frozen}
        self.engines = {name: FakeEngine() for name in policies or config.models}
        self.engine = next(iter(self.engines.values()), FakeEngine())
        self.engine.chat_template = chat_template
        self.telemetry = FakeTelemetry()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.servings = {
            name: PolicyServing(
                policy,
                self.engines[name],
                source="the log",
                serve_base=config.serve_base,
                retry_s=config.retry_s,
                is_frozen=is_frozen,
            )
            for name, (policy, is_frozen) in policies.items()
        }
        self.serving = next(iter(self.servings.values()))
        served = [_served(one, config) for one in self.servings.values()]
        self.policies = Policies(served, roles)
        self.state = GatewayState(
            config,
            self.telemetry,
            policies=self.policies,
            forwarded=forwarded,
        )
        self.app = create_app(self.state)
        self._following = asyncio.run_coroutine_threadsafe(self.policies.run(), self._loop)

    def close(self) -> None:
        self._following.cancel()
        self.run(_others_ended())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.start(work).result(WAIT)

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        async def work() -> Any:
            return function(*arguments)

        return self.run(work())

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for what the gateway's own loop sees."""
        wait_until(lambda: bool(self.call(condition)), what, pause_s=0.005)

    def publish(self, *versions: int, uri: str = "/weights/{}") -> None:
        name = self.serving.policy
        records = [
            PolicyRecord(version=PolicyVersion(policy=name, version=n, uri=uri.format(n)))
            for n in versions
        ]
        self.call(self.serving.take if self.serving.versions else self.serving.start, records)

    def serve(self, *versions: int) -> "Harness":
        self.publish(*versions)
        self.wait_until(lambda: self.serving.served == versions[-1], f"version {versions[-1]}")
        return self

    def set_traffic(self, version: int) -> None:
        self.call(
            self.serving.take,
            [PolicyRecord(traffic=Traffic(policy=self.serving.policy, version=version))],
        )

    async def asend(self, path: str, *, method: str = "GET", **arguments: Any) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **arguments)

    def get(self, path: str, **arguments: Any) -> httpx2.Response:
        return self.run(self.asend(path, **arguments))

    def post(self, path: str = CHAT, **arguments: Any) -> httpx2.Response:
        return self.run(self.asend(path, method="POST", **arguments))

    def chat(self, path: str = CHAT, **fields: Any) -> httpx2.Response:
        return self.post(path, json=body(**fields))

    @contextmanager
    def listening(self) -> Iterator[str]:
        """A real server in front; its address."""
        server = uvicorn.Server(
            uvicorn.Config(self.app, log_config=None, lifespan="off", loop="none")
        )
        listener = _listener()
        serving = self.start(server.serve(sockets=[listener]))
        try:
            self.wait_until(lambda: server.started, "the server to listen")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            serving.result(WAIT)


def _served(serving: PolicyServing, config: GatewayConfig) -> Served:
    sampled = Sampled(
        serving,
        prompts_memory_bytes=config.prompts_memory_bytes,
        privacy=Privacy(config.privacy),
        tool_format=config.policy.tool_format,
        strict_tools=config.strict_tools,
    )
    return Served(serving=serving, sampler=sampled)


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "calc", "messages": [{"role": "user", "content": "1+2"}], **fields}


def _listener() -> socket.socket:
    for port in range(24000, 32000, 7):
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
        else:
            return listener
    raise AssertionError("no free port from 24000 to 32000")


@pytest.fixture
def make_gateway() -> Iterator[Callable[..., Harness]]:
    """Makes gateways of policy `calc`; they are closed after the test."""
    made: list[Harness] = []

    def make(
        *, forwarded: Forwarded | None = None, chat_template: str = "", **fields: Any
    ) -> Harness:
        settings = {
            "policy": PolicySettings(name="calc"),
            "model_directory": Path("unused"),
            **fields,
        }
        made.append(Harness(GatewayConfig(**settings), forwarded, chat_template))
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()


@pytest.fixture
def gateway(make_gateway: Callable[..., Harness]) -> Harness:
    """A gateway that serves version 0 of `calc`."""
    return make_gateway().serve(0)


@pytest.fixture
def forwarding(make_gateway: Callable[..., Harness]) -> Iterator[tuple[Harness, Harness]]:
    """A gateway, and the gateway that stands in for a foreign server behind it."""
    behind = make_gateway(policy=PolicySettings(name="gpt")).serve(4)
    with behind.listening() as address:
        upstream = Upstream(UpstreamConfig(url=f"{address}/v1/"))
        gateway = make_gateway(forwarded=Forwarded(upstream)).serve(0)
        yield gateway, behind
        gateway.run(upstream.close())
