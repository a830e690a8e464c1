"""A running headrace: checks, starts the parts, and stops them when the block ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from headrace.infra.embedded.artifacts import (
    DOWNLOAD_MEGABYTES,
    ensure_kafka,
    ensure_registry,
    missing,
)
from headrace.infra.embedded.ports import ensure_free
from headrace.infra.errors import SettingsError
from headrace.infra.launch.parts import build_parts, model_directory, prepare_external
from headrace.infra.launch.private import OTHERS, keep_private
from headrace.infra.settings import Settings
from headrace.infra.supervise import Supervisor
from headrace.infra.terminal.report import PartLines, download_bars


@contextmanager
def running(settings: Settings, *, console: Console, trainer: bool = True) -> Iterator[Supervisor]:
    """Start every part, one line each on `console`, and stop them at the end of the block.

    Raises PortInUse naming the setting to change, SetupError, or PartFailed with the part's last
    log lines.
    """
    check_rule(settings)
    check_ports(settings)
    fetch(settings, console)  # before the umask: a cache may be shared
    before = os.umask(OTHERS)
    try:
        keep_private(settings.directory)
        prepare_external(settings)
        parts = build_parts(settings, trainer=trainer)
        lines = PartLines(console, {part.name: part.endpoint for part in parts})
        supervisor = Supervisor(parts, lines, run_dir=settings.directory)
        with lines:
            supervisor.start()
        try:
            yield supervisor
        finally:
            supervisor.stop()
    finally:
        os.umask(before)


def check_rule(settings: Settings) -> None:
    """Raise SettingsError if the reward rule cannot be used, before anything is started."""
    from headrace.streams.reward import RewardError, load_rule

    here = str(Path.cwd())
    sys.path.insert(0, here)  # as the credit stage finds it
    try:
        load_rule(settings.credit.rule)
    except RewardError as error:
        raise SettingsError(f"[credit] rule (HEADRACE_CREDIT_RULE): {error}") from error
    except Exception as error:  # the user's module, as it is imported
        raise SettingsError(
            f"[credit] rule (HEADRACE_CREDIT_RULE) {settings.credit.rule!r}: importing it raised "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(here)


def check_ports(settings: Settings) -> None:
    """Raise PortInUse for the first port of ours that somebody else holds."""
    if not settings.kafka.bootstrap:
        ensure_free(settings.kafka.port, "Kafka", "[kafka] port or HEADRACE_KAFKA_PORT")
        ensure_free(
            settings.kafka.controller_port,
            "Kafka's controller",
            "[kafka] controller_port or HEADRACE_KAFKA_CONTROLLER_PORT",
        )
    if not settings.registry.url:
        ensure_free(
            settings.registry.port, "the registry", "[registry] port or HEADRACE_REGISTRY_PORT"
        )
    if not settings.clickhouse.url:
        ensure_free(
            settings.clickhouse.port,
            "ClickHouse",
            "[clickhouse] port or HEADRACE_CLICKHOUSE_PORT",
        )
    ensure_free(settings.gateway.port, "the gateway", "[gateway] port or HEADRACE_GATEWAY_PORT")
    if settings.console.enabled:
        ensure_free(
            settings.console.port,
            "the console (--no-console leaves it out)",
            "[console] port or HEADRACE_CONSOLE_PORT",
        )
    if settings.otlp.enabled:
        ensure_free(
            settings.otlp.port,
            "the OTLP receiver",
            "[otlp] port or HEADRACE_OTLP_PORT, or switch it off by enabled",
        )
    if settings.otlp_grpc:
        ensure_free(
            settings.otlp.grpc_port,
            "OTLP over gRPC",
            "[otlp] grpc_port or HEADRACE_OTLP_GRPC_PORT, or switch it off by grpc",
        )


def fetch(settings: Settings, console: Console) -> None:
    """Convert the bundled model and download what the embedded parts lack, with a bar each."""
    wanted = []
    if not settings.kafka.bootstrap:
        wanted.append("kafka")
    if not settings.registry.url:
        wanted.append("registry")
    with console.status("converting the bundled model, once, about half a minute"):
        for policy in settings.models:
            model_directory(settings, policy)
    lacking = [name for name in missing() if name in wanted]
    if not lacking:
        return
    size = sum(DOWNLOAD_MEGABYTES[name] for name in lacking)
    console.print(f"Fetching {' and '.join(lacking)}: {size} MB, once.")
    with download_bars(console) as progress:
        for name in lacking:
            (ensure_kafka if name == "kafka" else ensure_registry)(progress)
