"""The parts of a running headrace, made from the settings."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from headrace.connectors.clickhouse import ClickHouse, migrate
from headrace.connectors.engines.arithmetic import Arithmetic, choose, has_gpu
from headrace.connectors.engines.policy import BUNDLED
from headrace.connectors.kafka import Registry, RegistryAccess, topics
from headrace.connectors.worker.exits import PLANNED_EXITS
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.infra.embedded import (
    BrokerConfig,
    ClickHouseServerConfig,
    RegistryConfig,
    embedded_parts,
    probe,
    registry,
)
from headrace.infra.embedded.artifacts import Progress, cache_dir
from headrace.infra.embedded.models import BUNDLED_MODEL, MANIFEST
from headrace.infra.errors import SettingsError, SetupError
from headrace.infra.launch.vocabulary import fill_vocabulary
from headrace.infra.settings import Settings
from headrace.infra.supervise import Part

STAGES = ("assemble", "credit", "sink")
HEARTBEAT_S = 3.0  # a worker writes its heartbeat each second
STEP_S = 600.0  # the trainer beats between steps, and a step of a large model is long


def model_directory(settings: Settings, policy: str | None = None) -> Path:
    """Directory of a policy's base model; the bundled one is converted at its first use.

    policy: its name; None: the default policy.
    """
    name = settings.policy.name if policy is None else policy
    model = settings.models[name]
    if model == BUNDLED:
        directory = cache_dir() / BUNDLED_MODEL
        if not (directory / MANIFEST).exists():  # torch and a gigabyte, not in this process
            command = [sys.executable, "-m", "headrace.infra.embedded.models", str(cache_dir())]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SetupError(f"the bundled model could not be converted: {done.stderr[-800:]}")
        return directory
    path = Path(model).expanduser().resolve()
    if not (path / "config.json").exists():
        key = "[policy] model" if name == settings.policy.name else f"[policies] {name}"
        raise SettingsError(
            f"{key}: {path} holds no config.json; name {BUNDLED!r} or a directory with a "
            "transformers model"
        )
    return path


def arithmetic(settings: Settings) -> Arithmetic:
    """In what engine and trainer calculate, and why: decided once, here, for both.

    The trainer's device decides: the engine takes a GPU by itself, so if one of the two is on the
    CPU, it is the trainer.
    """
    wanted = settings.trainer.device
    on_gpu = has_gpu() if wanted == "auto" else wanted != "cpu"
    return choose(settings.policy.dtype, device="cuda" if on_gpu else "cpu")


def build_parts(
    settings: Settings, *, trainer: bool = True, progress: Progress | None = None
) -> tuple[Part, ...]:
    """All parts to start, each after those it depends on.

    Parts that the settings place elsewhere (a broker, registry or ClickHouse of yours) are not
    among them; prepare those with `prepare_external`.
    """
    directory = settings.directory
    logs = directory / "logs"
    embedded = _embedded(settings, logs, progress)
    here = {part.name for part in embedded}
    environment = {
        **settings.environment(),
        "HEADRACE_RUN_DIRECTORY": str(directory / "run"),
        "HEADRACE_SPOOL_DIRECTORY": str(directory / "spool" / "gateway"),
        "HEADRACE_CHECKPOINT_DIRECTORY": str(directory / "checkpoints"),
        "HEADRACE_POLICY_DTYPE": arithmetic(settings).dtype,
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",  # engine and trainer share cores: no spinning for a turn
        "PYTHONUNBUFFERED": "1",
    }
    stages = [
        Part(
            name=stage,
            command=[sys.executable, "-m", "headrace.streams", stage],
            ready=partial(_has_fresh_heartbeat, heartbeat_file(settings, stage)),
            env=with_own_code(environment),
            depends=_present(here, "kafka", "registry", "clickhouse"),
            prepare=partial(_forget, heartbeat_file(settings, stage)),
            planned_exits=PLANNED_EXITS,
            log=logs / f"{stage}.log",
        )
        for stage in STAGES
    ]
    gateway = Part(
        name="gateway",
        command=lambda: [
            sys.executable,
            "-m",
            "headrace.connectors.gateway",
            *_gateway_models(settings),
        ],
        ready=partial(_answers, f"{settings.gateway_url}/healthz"),
        endpoint=settings.gateway_url,
        env={
            **environment,
            "OMP_NUM_THREADS": str(settings.gateway.threads),
            # The trainer publishes the base weights as version 0; without it nobody does.
            "HEADRACE_GATEWAY_SERVE_BASE": str(not trainer).lower(),
        },
        depends=_present(here, "kafka", "registry"),
        prepare=lambda: _discard(_gateway_models(settings)),
        # vLLM compiles for minutes when it starts.
        ready_timeout_s=240.0 if settings.gateway.engine == "transformers" else 960.0,
        stop_grace_s=40.0,  # it answers what is in flight first, 30 seconds at most
        log=logs / "gateway.log",
    )
    trainers = [_trainer(settings, policy, environment, here) for policy in settings.roles.trained]
    otlp = (_receiver(settings, environment, here),) if settings.otlp.enabled else ()
    console = (_console(settings, environment, here),) if settings.console.enabled else ()
    return (*embedded, *stages, *(trainers if trainer else ()), gateway, *otlp, *console)


def _trainer(
    settings: Settings, policy: str, environment: Mapping[str, str], here: set[str]
) -> Part:
    name = "trainer" if policy == settings.policy.name else f"trainer-{policy}"
    heartbeat = heartbeat_file(settings, name)
    model = partial(model_directory, settings, policy)
    return Part(
        name=name,
        command=lambda: [
            sys.executable,
            "-m",
            "headrace.trainer",
            "--model-directory",
            str(model()),
        ],
        ready=partial(_has_fresh_heartbeat, heartbeat, STEP_S),
        env={
            **environment,
            "HEADRACE_POLICY_NAME": policy,
            "HEADRACE_POLICY_MODEL": settings.models[policy],
            "HEADRACE_PART": name,
            "OMP_NUM_THREADS": str(settings.trainer.threads),
        },
        depends=_present(here, "kafka", "registry"),
        prepare=lambda: _forget(heartbeat, model()),
        final_exits=frozenset({2, 3}),  # bad settings, refused: see its main
        ready_timeout_s=240.0,
        log=settings.directory / "logs" / f"{name}.log",
    )


def _gateway_models(settings: Settings) -> list[str]:
    """What the gateway gets of the policies' models."""
    default, *others = settings.models
    told = ["--model-directory", str(model_directory(settings, default))]
    for name in others:
        told += ["--policy", f"{name}={model_directory(settings, name)}"]
    return told


def _receiver(settings: Settings, environment: Mapping[str, str], here: set[str]) -> Part:
    return Part(
        name="otlp",
        command=[sys.executable, "-m", "headrace.connectors.otlp"],
        ready=partial(_answers, f"{settings.otlp_url}/healthz"),
        endpoint=settings.otlp_url,
        env={
            **environment,
            "HEADRACE_SPOOL_DIRECTORY": str(settings.directory / "spool" / "otlp"),
        },
        depends=_present(here, "kafka", "registry"),
        prepare=partial(_forget, heartbeat_file(settings, "otlp")),
        stop_grace_s=settings.otlp.durable_s + 10.0,  # it answers what is in flight first
        log=settings.directory / "logs" / "otlp.log",
    )


def _console(settings: Settings, environment: Mapping[str, str], here: set[str]) -> Part:
    return Part(
        name="console",
        command=[sys.executable, "-m", "headrace.infra.console"],
        ready=partial(_answers, f"{settings.console.url}/healthz"),
        endpoint=settings.console.url,
        env=dict(environment),
        depends=_present(here, "clickhouse"),
        final_exits=frozenset({2}),  # refused: see its main
        log=settings.directory / "logs" / "console.log",
    )


def with_own_code(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that imports the user's own modules from where we started."""
    path = os.environ.get("PYTHONPATH")
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, (path, str(Path.cwd()))))}


def prepare_external(settings: Settings) -> None:
    """Create topics, register schemas and migrate in the services the settings place elsewhere."""
    if settings.kafka.bootstrap:
        kafka = settings.kafka_access.client("headrace-up")
        topics.create_topics(kafka, settings.kafka.partitions, settings.kafka.replication)
    if settings.registry.url:
        _register_schemas(settings.registry_access)
    if settings.clickhouse.url:
        _migrate(settings)


def _embedded(settings: Settings, logs: Path, progress: Progress | None) -> list[Part]:
    kafka = BrokerConfig(
        data_dir=settings.directory / "kafka",
        port=settings.kafka.port,
        controller_port=settings.kafka.controller_port,
    )
    registry_config = RegistryConfig(bootstrap=settings.bootstrap, port=settings.registry.port)
    clickhouse = ClickHouseServerConfig(
        data_dir=settings.directory / "clickhouse", port=settings.clickhouse.port
    )
    parts = embedded_parts(
        kafka_config=kafka,
        registry_config=registry_config,
        clickhouse_config=clickhouse,
        logs=logs,
        partitions=settings.kafka.partitions,
        progress=progress,
        clickhouse_setup=partial(_migrate, settings),
    )
    elsewhere = {
        "kafka": settings.kafka.bootstrap,
        "registry": settings.registry.url,
        "clickhouse": settings.clickhouse.url,
    }
    here = [part for part in parts if not elsewhere[part.name]]
    names = {part.name for part in here}
    return [
        replace(
            part,
            depends=_present(names, *part.depends),
            setup=partial(_set_up_registry, registry_config.url)
            if part.name == "registry"
            else part.setup,
        )
        for part in here
    ]


def _set_up_registry(url: str) -> None:
    registry.configure(url)
    _register_schemas(RegistryAccess(url=url))


def _register_schemas(access: RegistryAccess) -> None:
    client = Registry(access)
    try:
        client.register_all()
    finally:
        client.close()


def _migrate(settings: Settings) -> None:
    client = ClickHouse(settings.clickhouse_config)
    try:
        migrate.apply(client)
        for policy in settings.models:
            fill_vocabulary(client, policy, model_directory(settings, policy))
    finally:
        client.close()


def _present(names: set[str], *wanted: str) -> tuple[str, ...]:
    return tuple(name for name in wanted if name in names)


def _discard(_: object) -> None:
    """A part's prepare hook returns nothing."""


def _forget(heartbeat: Path, _: object = None) -> None:
    """Take away what an earlier life said of itself: it would make this one look ready."""
    heartbeat.unlink(missing_ok=True)


def _answers(url: str) -> bool:
    return probe.get(url) is not None


def _has_fresh_heartbeat(file: Path, seconds: float = HEARTBEAT_S) -> bool:
    beat = read_heartbeat(file)
    return bool(beat.get("ready")) and time.time() - file.stat().st_mtime < seconds


def heartbeat_file(settings: Settings, part: str) -> Path:
    """Where a worker writes its heartbeat: under its member id for the stream stages."""
    member = f"{part}-0" if part in STAGES else part
    return settings.directory / "run" / f"{member}.json"
