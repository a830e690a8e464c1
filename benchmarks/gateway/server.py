"""A gateway over the engine that has no model, as a process: what is measured is all around one.

`python -m benchmarks.gateway.server --port 24001 --bootstrap 127.0.0.1:9092 --registry http://…`;
without --bootstrap spans are made and thrown away.
"""

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from headrace.connectors.engines.null import NullEngine, NullEngineConfig
from headrace.connectors.engines.policy import PolicySettings
from headrace.connectors.gateway import GatewayConfig
from headrace.connectors.gateway.app import create_app
from headrace.connectors.gateway.backends.sampled import Sampled
from headrace.connectors.gateway.policy.policies import Policies, Served
from headrace.connectors.gateway.policy.serving import PolicyServing
from headrace.connectors.gateway.state import DurableTelemetry, GatewayState
from headrace.connectors.sdk import Telemetry
from headrace.connectors.sdk.config import SdkConfig
from headrace.schemas import PolicyRecord, PolicyVersion, Span

POLICY = "bench"


class NoTelemetry:
    """Takes spans and forgets them."""

    async def aemit_durably(self, span: Span) -> str:
        """Done at once."""
        return "delivered"

    async def aemit_all_durably(self, spans: Sequence[Span]) -> str:
        """Done at once."""
        return "delivered"


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM."""
    with tempfile.TemporaryDirectory(prefix="headrace-gateway-") as scratch:
        directory = Path(scratch)
        (directory / "model.safetensors").write_bytes(b"")
        config = GatewayConfig(policy=PolicySettings(name=POLICY), model_directory=directory)
        engine = NullEngine(NullEngineConfig(tokens=options.tokens))
        serving = PolicyServing(POLICY, engine, source="nothing", serve_base=False, retry_s=1.0)
        version = PolicyVersion(policy=POLICY, version=0, uri=str(directory))
        serving.start([PolicyRecord(version=version)])
        running = asyncio.create_task(serving.run())
        async with _telemetry(options, directory) as telemetry:
            sampled = Sampled(serving, prompts_memory_bytes=config.prompts_memory_bytes)
            policies = Policies([Served(serving=serving, sampler=sampled)])
            state = GatewayState(config, telemetry, policies=policies, forwarded=None)
            # As headrace.connectors.gateway.run serves it.
            server = uvicorn.Server(
                uvicorn.Config(
                    create_app(state),
                    port=options.port,
                    log_config=None,
                    log_level="warning",
                    access_log=False,
                    server_header=False,
                    lifespan="off",
                )
            )
            await server.serve()
        running.cancel()


@asynccontextmanager
async def _telemetry(
    options: argparse.Namespace, directory: Path
) -> AsyncIterator[DurableTelemetry]:
    if not options.bootstrap:
        yield NoTelemetry()
        return
    telemetry = Telemetry(
        SdkConfig(
            bootstrap=options.bootstrap,
            registry_url=options.registry,
            spool_directory=directory / "spool",
        )
    )
    try:
        yield telemetry
    finally:
        await asyncio.to_thread(telemetry.close)


def main() -> None:
    """Reads the options and serves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--registry", default="")
    uvicorn_loop = uvicorn.Config(_nothing, loop="auto").get_loop_factory()
    with asyncio.Runner(loop_factory=uvicorn_loop) as runner:
        runner.run(serve(parser.parse_args()))


async def _nothing(scope: object, receive: object, send: object) -> None: ...


if __name__ == "__main__":
    main()
