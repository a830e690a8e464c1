"""What the gateway can be told."""

from dataclasses import dataclass, field
from pathlib import Path

from headrace.connectors.engines.arithmetic import (
    Arithmetic,
    DtypeSetting,
    choose,
    parse_setting,
)
from headrace.connectors.gateway.errors import ConfigurationError
from headrace.connectors.loopback import is_loopback
from headrace.schemas import InvalidId, check_id


@dataclass(kw_only=True, slots=True, frozen=True)
class GatewayConfig:
    """Configuration of the gateway.

    Raises:
        ConfigurationError: a field cannot be; the message names it and the fix.
    """

    host: str = "127.0.0.1"
    """Address to listen on. Beyond loopback `api_keys` are required."""
    port: int = 8000
    policy: str = "calculator"
    """The policy that the engine serves; clients ask for it as their `model`."""
    model_directory: Path | None = None
    """Model, tokenizer and chat template of the engine; None serves the upstream alone."""
    dtype: DtypeSetting = "auto"
    """Number format of the engine's arithmetic; the trainer's must be the same."""
    threads: int | None = None
    """CPU threads of the engine; None leaves torch's choice."""
    max_batch: int = 48
    """Most requests decoded together; further ones wait."""
    bootstrap: str = "127.0.0.1:9092"
    registry_url: str = "http://127.0.0.1:8081"
    spool_directory: Path = Path(".headrace/spool/gateway")
    """Where calls wait while the broker is away."""
    serve_base: bool = False
    """Whether the engine's own weights are served (and not trained) before version 0."""
    upstream_url: str = ""
    """Base URL (with /v1) of an OpenAI-compatible server for every other model; empty: none."""
    upstream_api_key: str = field(default="", repr=False)
    api_keys: frozenset[str] = field(default=frozenset(), repr=False)
    """Keys of which a client must send one as its bearer token; empty: everybody may ask."""
    max_body_bytes: int = 4 * 1024 * 1024
    max_messages: int = 1024
    """Most messages of a conversation."""
    max_in_flight: int = 1024
    """Requests that may run or wait; further ones are answered 429."""
    default_max_tokens: int = 256
    """Tokens to sample where the request does not say."""
    drain_seconds: int = 30
    """How long requests in flight may go on when the gateway is stopped."""
    retry_seconds: float = 5.0
    """Pause before weights that could not be loaded are tried again."""

    @property
    def arithmetic(self) -> Arithmetic:
        """In what the engine calculates, and why.

        As on a CPU, even if the engine finds a GPU: the trainer beside it uses none.
        """
        return choose(self.dtype)

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise ConfigurationError(f"gateway.port is {self.port}: give one from 1 to 65535")
        try:
            check_id(self.policy, "gateway.policy")
        except InvalidId as error:
            raise ConfigurationError(str(error)) from error
        try:
            parse_setting(self.dtype)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        if self.model_directory is None and not self.upstream_url:
            raise ConfigurationError(
                "the gateway has nothing to serve: set gateway.model_directory or "
                "gateway.upstream_url"
            )
        if not self.api_keys and not is_loopback(self.host):
            raise ConfigurationError(
                f"gateway.host is {self.host}, which others can reach: set gateway.api_keys, or "
                "listen on 127.0.0.1"
            )
        if any(not key.strip() or not key.isascii() for key in self.api_keys):
            raise ConfigurationError(
                "gateway.api_keys holds an empty key or one with other characters than ASCII: "
                "give printable ASCII keys"
            )
        if self.threads is not None and self.threads < 1:
            raise ConfigurationError(
                f"gateway.threads is {self.threads}: give at least 1, or leave it out"
            )
        for name in (
            "max_batch",
            "max_body_bytes",
            "max_messages",
            "max_in_flight",
            "default_max_tokens",
            "drain_seconds",
            "retry_seconds",
        ):
            if getattr(self, name) <= 0:
                raise ConfigurationError(
                    f"gateway.{name} is {getattr(self, name)}: give a positive number"
                )
