"""What the gateway can be told: its section of the settings, and what the process is given."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headrace.connectors.clickhouse import ClickHouseConfig
from headrace.connectors.engines.arithmetic import Arithmetic, choose
from headrace.connectors.engines.policy import PoliciesSettings, PolicySettings
from headrace.connectors.engines.registry import ENGINES
from headrace.connectors.engines.roles import AgentsSettings, Roles, roles_of
from headrace.connectors.gateway.placed_keys import split_key
from headrace.connectors.http_server import bad_host, bad_keys
from headrace.connectors.kafka import KafkaAccess, PoisonSettings, RegistryAccess
from headrace.connectors.privacy import PrivacySettings
from headrace.connectors.settings import (
    BadSettings,
    check,
    inner,
    key,
    keys,
    sections_from_environment,
    tcp_port,
)
from headrace.schemas.ids import ID_PATTERN

SPOOL, CHECKPOINTS = ".headrace/spool/gateway", ".headrace/checkpoints"
KAFKA, REGISTRY = "127.0.0.1:9092", "http://127.0.0.1:8081"
"""Where a gateway that is started alone looks for them."""


@dataclass(kw_only=True, slots=True, frozen=True)
class GatewaySettings:
    """The OpenAI-compatible gateway."""

    host: str = "127.0.0.1"
    """Address it listens on; beyond loopback it wants `keys`."""
    port: int = tcp_port(8000)
    """Its port."""
    keys: tuple[str, ...] = key((), secret=True)
    """API keys of which a client sends one as its bearer token; empty: none asked (loopback
    only)."""
    project_keys: tuple[str, ...] = key((), secret=True)
    """Further keys, each of one project: `PROJECT=KEY`. Calls with such a key are of that
    project, and may name no other."""
    requests_per_minute: int = key(0, least=0)
    """Requests that a key may make in a minute, without keys an address; more are answered 429.
    0: any number."""
    tokens_per_minute: int = key(0, least=0)
    """Tokens, read and sampled, that a key may take in a minute, without keys an address; 0: any
    number."""
    request_timeout_s: float = key(3600.0, least=0.001)
    """Seconds that a request may take, from its first byte to the end of its answer; then its
    generation is cancelled and it is answered 504."""
    threads: int = key(2, least=1)
    """CPU threads of the built-in engine."""
    max_batch: int = key(48, least=1)
    """Requests decoded together at most; further ones wait."""
    engine: str = key("transformers", choices=ENGINES)
    """What samples the policy's completions: the built-in engine, or a vLLM server."""
    engine_url: str = ""
    """A vLLM server that was started with `python -m headrace.connectors.engines.vllm.serve`;
    empty: the gateway starts one by `engine_command`."""
    engine_command: str = ".venv-vllm/bin/python"
    """An interpreter that has vLLM (`make vllm` sets this one up); after ` -- `, flags for vLLM."""
    engine_api_key: str = key("", secret=True)
    """The vLLM server's key, if it wants one."""
    max_body_bytes: int = key(16 * 1024 * 1024, least=1)
    """Bytes of a request's body at most."""
    max_messages: int = key(1024, least=1)
    """Messages of a conversation at most."""
    max_in_flight: int = key(1024, least=1)
    """Requests that may run or wait; further ones are answered 429."""
    default_max_tokens: int = key(4096, least=1)
    """Tokens to sample at most where the request does not say; no more than a quarter of
    `[policy] max_sequence` (but 256), nor than the prompt leaves of it."""
    strict_tools: Literal["traffic", "always", "never"] = key(
        "traffic", choices=("traffic", "always", "never")
    )
    """Whose tools with `strict: true` are called by their schema though none has to be: those of
    calls that name no rollout, all, or nobody's. Such answers are not trained (`off_support`)."""
    drain_s: int = key(30, least=1)
    """Seconds that requests in flight may go on when the gateway is stopped."""
    retry_s: float = key(5.0, least=0.001)
    """Pause in seconds before weights that could not be loaded are tried again."""
    prompts_memory_bytes: int = key(64 * 1024 * 1024, least=0)
    """Bytes of conversations whose sampled tokens the next request goes on from; 0: none, every
    prompt is cut into tokens again."""
    other_models: Literal["policy", "refuse"] = key("policy", choices=("policy", "refuse"))
    """What a model is that is neither the policy nor, where there is one, the upstream's: another
    name of the policy, so that an agent need not be changed, or unknown (404)."""
    upstream_url: str = ""
    """Base URL (with /v1) of an OpenAI-compatible server for every other model: telemetry only;
    empty: none."""
    upstream_api_key: str = key("", secret=True)
    """Its key."""
    upstream_timeout_s: float = key(600.0, least=0.001)
    """Seconds without a byte of the upstream after which it counts as gone."""
    responses_memory_bytes: int = key(64 * 1024 * 1024, least=0)
    """Bytes of conversations that `previous_response_id` can go on from; 0: none."""
    retries_memory_bytes: int = key(64 * 1024 * 1024, least=0)
    """Bytes of answers that a retry with the same Idempotency-Key gets again; 0: none."""
    conversation_idle_s: float = key(120.0, least=0.001)
    """Seconds after which a call that says of no episode goes on with none that was idle: as
    `[assemble] idle_ms`, which closes it."""
    conversations_memory_bytes: int = key(16 * 1024 * 1024, least=0)
    """Bytes of what is remembered of conversations whose clients say of no episode; 0: nothing,
    each of their calls is an episode of its own."""
    embeddings_model: str = ""
    """Folder of a sentence-transformers model for /v1/embeddings; empty: all-MiniLM-L6-v2 where the
    extra `embeddings` is installed."""

    def __post_init__(self) -> None:
        self.check()

    def check(self, *more: tuple[str, str]) -> None:
        """Raise BadSettings for what cannot be; `more` are further faults by key."""
        upstream = ""
        if self.upstream_url and not self.upstream_url.startswith(("http://", "https://")):
            upstream = f"is {self.upstream_url!r}: give http://host:port/v1"
        faults = (
            ("host", bad_host(self.host, (*self.keys, *self.project_keys))),
            ("keys", _bad_keys(self.keys)),
            ("project_keys", _bad_project_keys(self.keys, self.project_keys)),
            ("upstream_url", upstream),
        )
        check(self, "gateway", *faults, *self._bad_engine(), *more)

    @property
    def projects_of_keys(self) -> dict[str, str]:
        """All keys, each with its project; '': any."""
        owned = [one.partition("=") for one in self.project_keys]
        return dict.fromkeys(self.keys, "") | {key: project for project, _, key in owned}

    def key_for(self, project: str) -> str:
        """A key for agents of ours: one of any project, else the project's; '': none is asked."""
        known = self.projects_of_keys
        own = [key for key, of in known.items() if of in ("", project)]
        return next(iter([*own, *known]), "")

    def _bad_engine(self) -> tuple[tuple[str, str], ...]:
        url, command = "", ""
        if self.engine_url and not self.engine_url.startswith(("http://", "https://")):
            url = f"is {self.engine_url!r}: give http://host:port"
        if self.engine == "vllm" and not self.engine_url and not self.engine_command.strip():
            command = "is empty and there is no engine_url: run `make vllm`, name its python"
        return (("engine_url", url), ("engine_command", command))


def _bad_keys(keys: Sequence[str]) -> str:
    placed = any(split_key(one)[1] for one in keys)
    ends = "hold one that ends as a place does: /rollout/…/attempt/…" if placed else ""
    return bad_keys(keys) or ends


def _bad_project_keys(keys: Sequence[str], project_keys: Sequence[str]) -> str:
    owned = [one.partition("=") for one in project_keys]
    if not all(ID_PATTERN.fullmatch(project) and sign for project, sign, _ in owned):
        return f"hold one that is not PROJECT=KEY, PROJECT of {ID_PATTERN.pattern}"
    own = [key for _, _, key in owned]
    if len({*keys, *own}) < len(keys) + len(own):
        return "hold a key twice, or one of keys"
    return _bad_keys(own)


@dataclass(kw_only=True, slots=True, frozen=True)
class GatewayConfig(GatewaySettings):
    """Configuration of the gateway's process.

    Raises:
        BadSettings: a field cannot be; the message names it and the fix.
    """

    policy: PolicySettings = inner(default_factory=PolicySettings)
    """The default policy."""
    model_directory: Path | None = inner(None)
    """Its model, tokenizer and chat template; None serves the upstream alone."""
    policies: Mapping[str, Path] = inner(default_factory=dict)
    """Model directories of the further policies, by name."""
    agents: AgentsSettings = inner(default_factory=AgentsSettings)
    """Which policy answers which agent."""
    kafka: KafkaAccess = inner(default_factory=lambda: KafkaAccess(bootstrap=KAFKA))
    registry: RegistryAccess = inner(default_factory=lambda: RegistryAccess(url=REGISTRY))
    poison: PoisonSettings = inner(default_factory=PoisonSettings)
    """How many policy records that cannot be read are accepted."""
    privacy: PrivacySettings = inner(default_factory=PrivacySettings)
    """What of calls is kept, and what of them a model sees."""
    clickhouse: ClickHouseConfig = inner(default_factory=ClickHouseConfig)
    """Where feedback finds what it is about."""
    spool_directory: Path = inner(Path(SPOOL))
    """Where calls wait while the broker is away."""
    checkpoint_directory: Path = inner(Path(CHECKPOINTS))
    """Where a vLLM server may load weights from, besides the model's own folder."""
    serve_base: bool = inner(False)
    """Whether the engines' own weights are served (and not trained) before version 0."""

    @property
    def models(self) -> Mapping[str, Path]:
        """Model directories of all policies, by name; the default policy's first."""
        if self.model_directory is None:
            return {}
        return {self.policy.name: self.model_directory, **self.policies}

    @property
    def roles(self) -> Roles:
        """Which policy answers an agent."""
        return roles_of(tuple(self.models), self.agents)[0] if self.models else Roles()

    @property
    def arithmetic(self) -> Arithmetic:
        """In what the engine calculates, and why.

        As on a CPU, even if the engine finds a GPU: the trainer beside it uses none.
        """
        return choose(self.policy.dtype)

    def __post_init__(self) -> None:
        nothing = ""
        if self.model_directory is None and not self.upstream_url:
            nothing = "is empty and there is no --model-directory: the gateway has nothing to serve"
        several = ""
        engines = len(self.roles.followed) + len(self.roles.frozen)
        if self.engine == "vllm" and self.engine_url and engines > 1:
            several = (
                f"names one server, and {engines} are wanted ([policies], [agents]): leave it "
                "empty, so that the gateway starts each by engine_command"
            )
        if self.models and (faults := roles_of(tuple(self.models), self.agents)[1]):
            raise BadSettings(faults)
        self.check(("upstream_url", nothing), ("engine_url", several))


def config_from_environment(
    environment: Mapping[str, str], argv: Sequence[str] = ()
) -> GatewayConfig:
    """Configuration from `HEADRACE_*`; an empty variable counts as unset.

    Raises:
        BadSettings: names each variable that cannot be used.
    """
    parser = argparse.ArgumentParser(
        prog="python -m headrace.connectors.gateway",
        description="The gateway. Its settings are HEADRACE_* variables (docs/settings.md).",
    )
    parser.add_argument("--model-directory", help="the policy's model (safetensors, tokenizer)")
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        type=_named_directory,
        metavar="NAME=DIRECTORY",
        help="a further policy and its model; may be repeated",
    )
    options = parser.parse_args(list(argv))
    environment = {
        "HEADRACE_KAFKA_BOOTSTRAP": KAFKA,
        "HEADRACE_REGISTRY_URL": REGISTRY,
        **environment,
    }
    made = sections_from_environment(SECTIONS, environment)
    gateway = {one.name: getattr(made["gateway"], one.name) for one in keys(GatewaySettings)}
    model = options.model_directory or environment.get("HEADRACE_GATEWAY_MODEL_DIRECTORY")
    return GatewayConfig(
        **gateway,
        policy=made["policy"],
        kafka=made["kafka"],
        registry=made["registry"],
        poison=made["streams"],
        privacy=made["privacy"],
        clickhouse=made["clickhouse"],
        model_directory=Path(model) if model else None,
        policies=dict(options.policy),
        agents=made["agents"],
        serve_base=environment.get("HEADRACE_GATEWAY_SERVE_BASE", "").lower() == "true",
        spool_directory=Path(environment.get("HEADRACE_SPOOL_DIRECTORY") or SPOOL),
        checkpoint_directory=Path(environment.get("HEADRACE_CHECKPOINT_DIRECTORY") or CHECKPOINTS),
    )


def _named_directory(text: str) -> tuple[str, Path]:
    name, _, directory = text.partition("=")
    PoliciesSettings(entries={name: directory})
    return name, Path(directory)


SECTIONS: Mapping[str, type] = {
    "gateway": GatewaySettings,
    "policy": PolicySettings,
    "agents": AgentsSettings,
    "kafka": KafkaAccess,
    "registry": RegistryAccess,
    "streams": PoisonSettings,
    "privacy": PrivacySettings,
    "clickhouse": ClickHouseConfig,
}
"""What of the settings the gateway reads."""
