"""The gateway as a process: its parts started, served and closed in order."""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import uvicorn

from headrace.connectors.engines.upstream import Upstream, UpstreamConfig
from headrace.connectors.gateway.app import create_app
from headrace.connectors.gateway.backends.embedding import EmbeddingsBackend, local_model
from headrace.connectors.gateway.backends.forwarded import Forwarded
from headrace.connectors.gateway.backends.sampled import Sampled
from headrace.connectors.gateway.config import GatewayConfig
from headrace.connectors.gateway.errors import ConfigurationError
from headrace.connectors.gateway.policy.engines import open_engine
from headrace.connectors.gateway.policy.log import TOPIC, PolicyLog
from headrace.connectors.gateway.policy.policies import Policies, Served
from headrace.connectors.gateway.policy.serving import PolicyServing
from headrace.connectors.gateway.state import GatewayState
from headrace.connectors.http_server import listening
from headrace.connectors.http_server.listening import Server
from headrace.connectors.privacy import Privacy
from headrace.connectors.privacy.logs import redact_logs
from headrace.connectors.sdk import Telemetry, sdk_config

logger = logging.getLogger(__name__)


async def serve(config: GatewayConfig) -> None:
    """Run a gateway until SIGTERM or SIGINT; requests in flight are answered first.

    Raises:
        ConfigurationError: the port is taken.
        EngineError: the model cannot be served.
    """
    with listen(config) as listener:
        async with running(config) as state:
            server = Server(
                uvicorn.Config(
                    create_app(state),
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    lifespan="off",
                    timeout_keep_alive=75,
                    timeout_graceful_shutdown=config.drain_s,
                )
            )
            await server.serve(sockets=[listener])


@asynccontextmanager
async def running(config: GatewayConfig) -> AsyncIterator[GatewayState]:
    """The parts of a gateway, without its server; they are closed when the block ends."""
    async with AsyncExitStack() as stack:
        telemetry = Telemetry(
            sdk_config(
                config.kafka,
                config.registry,
                config.privacy,
                spool_directory=config.spool_directory,
            )
        )
        stack.push_async_callback(asyncio.to_thread, telemetry.close)
        privacy = Privacy(config.privacy, telemetry.config.hidden)
        redact_logs(privacy)
        forwarded, upstream, roles = None, None, config.roles
        policies = Policies(
            [
                await stack.enter_async_context(_served(config, name, privacy, is_frozen=is_frozen))
                for is_frozen, names in ((False, roles.followed), (True, roles.frozen))
                for name in names
            ],
            roles,
        )
        if policies:
            await stack.enter_async_context(_following(config, policies))
        if config.upstream_url:
            upstream = Upstream(
                UpstreamConfig(
                    url=config.upstream_url,
                    api_key=config.upstream_api_key,
                    timeout_s=config.upstream_timeout_s,
                )
            )
            stack.push_async_callback(upstream.close)
            forwarded = Forwarded(upstream)
        embeddings = EmbeddingsBackend(
            local=local_model(config.embeddings_model),
            upstream=upstream,
            any_name=config.other_models == "policy",
        )
        state = GatewayState(
            config,
            telemetry,
            policies=policies,
            forwarded=forwarded,
            embeddings=embeddings,
            privacy=privacy,
        )
        stack.callback(state.places.close)
        yield state


def listen(config: GatewayConfig) -> socket.socket:
    """A bound socket, taken before the model is loaded, so that a taken port shows at once.

    Raises:
        ConfigurationError: the address cannot be had; the message names the setting.
    """
    try:
        return listening.listen(config.host, config.port)
    except OSError as error:
        raise ConfigurationError(
            f"the gateway cannot listen on {config.host}:{config.port}: {error.strerror}; change "
            "[gateway] port (HEADRACE_GATEWAY_PORT) or host"
        ) from error


@asynccontextmanager
async def _served(
    config: GatewayConfig, policy: str, privacy: Privacy, *, is_frozen: bool
) -> AsyncIterator[Served]:
    model, is_trained = config.models[policy], policy in config.roles.trained
    async with open_engine(config, model, _end) as engine:
        serving = PolicyServing(
            policy,
            engine,
            source=f"{TOPIC} on {config.kafka.bootstrap}",
            # Nobody publishes versions of a policy that nobody trains.
            serve_base=config.serve_base or not is_trained,
            retry_s=config.retry_s,
            is_frozen=is_frozen,
            checkpoints=config.checkpoint_directory,
        )
        share = config.prompts_memory_bytes // len(config.models)
        logger.info("%s has an engine of its own, on %s", serving.name, model)
        sampled = Sampled(
            serving,
            prompts_memory_bytes=share,
            privacy=privacy,
            tool_format=config.policy.tool_format if policy == config.policy.name else "auto",
            strict_tools=config.strict_tools,
        )
        yield Served(serving=serving, sampler=sampled)


@asynccontextmanager
async def _following(config: GatewayConfig, policies: Policies) -> AsyncIterator[None]:
    log = PolicyLog(
        config.kafka.client("headrace-gateway"),
        config.registry,
        limit=config.poison,
        on_start=policies.start,
        on_records=policies.take,
        loop=asyncio.get_running_loop(),
    )
    following = asyncio.create_task(_follow(log, policies))
    following.add_done_callback(_end_on_bug)
    try:
        yield
    finally:
        log.stop()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def _follow(log: PolicyLog, policies: Policies) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(log.run))
        group.create_task(policies.run())


def _end_on_bug(following: "asyncio.Task[None]") -> None:
    # A gateway that no longer follows its policy would look well and serve old weights: end in
    # order (`_following` raises the error), and let the supervisor start another.
    if not following.cancelled() and (error := following.exception()) is not None:
        logger.critical("policy versions can no longer be followed", exc_info=error)
        signal.raise_signal(signal.SIGTERM)


def _end(why: str) -> None:
    # As above: in order, and the supervisor starts another.
    logger.critical("%s", why)
    signal.raise_signal(signal.SIGTERM)
