"""A gateway with a scripted engine on the real parts of the run, and agents in front of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig
from headrace.connectors.clickhouse.migrate import apply
from headrace.connectors.engines.policy import PolicySettings
from headrace.connectors.gateway import GatewayConfig
from headrace.connectors.gateway.app import create_app
from headrace.connectors.gateway.backends.sampled import Sampled
from headrace.connectors.gateway.policy.policies import Policies, Served
from headrace.connectors.gateway.policy.serving import PolicyServing
from headrace.connectors.gateway.state import GatewayState
from headrace.connectors.kafka import KafkaAccess, Registry, RegistryAccess
from headrace.connectors.sdk import Telemetry, sdk_config
from headrace.infra.embedded.ports import free_port
from headrace.schemas import PolicyRecord, PolicyVersion, new_ulid
from tests.frameworks.scripted import EXAMPLES, ScriptedEngine, python_of
from tests.integration.test_assemble import Worker
from tests.support.environment import environment_of
from tests.support.waiting import wait_until, wait_until_async

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

DATABASE, POLICY = "headrace_frameworks_test", "assistant"
SECONDS = 90.0


@dataclass(kw_only=True, frozen=True)
class Episode:
    """What ClickHouse has of one run of an agent."""

    exit_code: int
    output: str
    row: dict[str, Any]
    """Of `episodes`."""
    spans: list[dict[str, Any]]
    """Of `spans`, by the agent's clock."""
    calls: list[dict[str, Any]]
    """Of the view `calls`, in the same order."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Its spans of a kind."""
        return [span for span in self.spans if span["kind"] == kind]


class Lab:
    """Runs agents as a user would, and brings what became of them."""

    def __init__(self, stack: Stack, directory: Path, gateway_url: str) -> None:
        self._clickhouse = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
        self._gateway_url = gateway_url
        self._episodes: dict[tuple[str, ...], Episode] = {}
        self._environment = environment_of(
            stack,
            HEADRACE_DATA_DIRECTORY=directory / "data",
            HEADRACE_CLICKHOUSE_DATABASE=DATABASE,
            HOME=directory / "home",
            PYTHONDONTWRITEBYTECODE="",
        )

    def run(self, framework: str, script: str, *arguments: str) -> Episode:
        """`headrace run -- python SCRIPT`, in the framework's own environment; once."""
        asked = (framework, script, *arguments)
        if asked not in self._episodes:
            self._episodes[asked] = self._run(*asked)
        return self._episodes[asked]

    def _run(self, framework: str, script: str, *arguments: str) -> Episode:
        python = python_of(framework)
        rollout = new_ulid()
        command = [sys.executable, "-m", "headrace.infra.cli", "run", "--rollout", rollout]
        command += ["--gateway", self._gateway_url, "--require", "--", str(python), "-W", "ignore"]
        command += [str(EXAMPLES / framework / script), *arguments]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=SECONDS
        )
        return self._episode(rollout, done)

    def close(self) -> None:
        self._clickhouse.close()

    def _episode(self, rollout: str, done: subprocess.CompletedProcess[str]) -> Episode:
        output = done.stdout + done.stderr
        closed = f"SELECT * FROM episodes FINAL WHERE rollout_id = '{rollout}' AND state = 'closed'"
        wait_until(
            lambda: bool(self._clickhouse.query(closed)), f"the episode of {output}", SECONDS
        )
        where = f"WHERE rollout_id = '{rollout}'"
        spans = self._clickhouse.query(f"SELECT * FROM spans FINAL {where} ORDER BY started_at")
        order = [span["span_id"] for span in spans]
        calls = self._clickhouse.query(f"SELECT * FROM calls {where}")
        return Episode(
            exit_code=done.returncode,
            output=output,
            row=self._clickhouse.query(closed)[0],
            spans=spans,
            calls=sorted(calls, key=lambda call: order.index(call["span_id"])),
        )


@pytest.fixture(scope="session")
def lab(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Agents in front of a scripted gateway; what they say is assembled by a real worker."""
    directory = tmp_path_factory.mktemp("frameworks")
    (directory / "home").mkdir()
    registry = Registry(stack.registry_url)
    registry.register_all()
    registry.close()
    clickhouse = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    clickhouse.ensure_database()
    apply(clickhouse)
    clickhouse.close()
    # An agent that imports its framework is silent for seconds: only its end closes its episode.
    idle = {"HEADRACE_ASSEMBLE_IDLE_MS": "600000"}
    worker = Worker(stack, "headrace.frameworks.test", DATABASE, **idle)
    try:
        worker.wait_ready()
        with scripted_gateway(stack, directory) as url:
            made = Lab(stack, directory, url)
            yield made
            made.close()
    finally:
        worker.stop()


@contextmanager
def scripted_gateway(stack: Stack, directory: Path) -> Iterator[str]:
    """A listening gateway that samples from the script; its URL."""
    config = GatewayConfig(
        policy=PolicySettings(name=POLICY),
        model_directory=Path("unused"),
        port=free_port(),
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=RegistryAccess(url=stack.registry_url),
        spool_directory=directory / "spool",
    )
    telemetry = Telemetry(
        sdk_config(
            config.kafka, config.registry, config.privacy, spool_directory=config.spool_directory
        )
    )
    stop = threading.Event()
    started = threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(config, telemetry, directory, started, stop)), daemon=True
    )
    thread.start()
    assert started.wait(SECONDS)
    try:
        yield f"http://127.0.0.1:{config.port}"
    finally:
        stop.set()
        thread.join(SECONDS)
        telemetry.close()


async def _serve(
    config: GatewayConfig,
    telemetry: Telemetry,
    weights: Path,
    started: threading.Event,
    stop: threading.Event,
) -> None:
    (weights / "model.safetensors").touch()  # the script has no weights, but a version has a file
    serving = PolicyServing(
        POLICY, ScriptedEngine(), source="the script", serve_base=False, retry_s=1.0
    )
    first = PolicyVersion(policy=POLICY, version=0, uri=str(weights))
    serving.start([PolicyRecord(version=first)])
    following = asyncio.create_task(serving.run())
    sampled = Sampled(serving, prompts_memory_bytes=config.prompts_memory_bytes)
    state = GatewayState(
        config,
        telemetry,
        policies=Policies([Served(serving=serving, sampler=sampled)]),
        forwarded=None,
    )
    server = uvicorn.Server(
        uvicorn.Config(create_app(state), port=config.port, log_config=None, lifespan="off")
    )
    answering = asyncio.create_task(server.serve())
    await wait_until_async(lambda: server.started and serving.served == 0, "the gateway")
    started.set()
    await asyncio.to_thread(stop.wait)
    server.should_exit = True
    await answering
    following.cancel()
