"""The gateway's configuration from the command line and the environment."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headrace.connectors.gateway.config import GatewayConfig
from headrace.connectors.gateway.errors import ConfigurationError

_NAMES = {
    "host": "HEADRACE_GATEWAY_HOST",
    "port": "HEADRACE_GATEWAY_PORT",
    "policy": "HEADRACE_POLICY_NAME",
    "model_directory": "HEADRACE_GATEWAY_MODEL_DIRECTORY",
    "dtype": "HEADRACE_POLICY_DTYPE",
    "threads": "HEADRACE_GATEWAY_THREADS",
    "max_batch": "HEADRACE_GATEWAY_MAX_BATCH",
    "bootstrap": "HEADRACE_KAFKA_BOOTSTRAP",
    "registry_url": "HEADRACE_REGISTRY_URL",
    "spool_directory": "HEADRACE_SPOOL_DIRECTORY",
    "serve_base": "HEADRACE_GATEWAY_SERVE_BASE",
    "upstream_url": "HEADRACE_GATEWAY_UPSTREAM_URL",
    "upstream_api_key": "HEADRACE_GATEWAY_UPSTREAM_API_KEY",
    "api_keys": "HEADRACE_GATEWAY_KEYS",
    "max_body_bytes": "HEADRACE_GATEWAY_MAX_BODY_BYTES",
    "max_messages": "HEADRACE_GATEWAY_MAX_MESSAGES",
    "max_in_flight": "HEADRACE_GATEWAY_MAX_IN_FLIGHT",
    "default_max_tokens": "HEADRACE_GATEWAY_DEFAULT_MAX_TOKENS",
    "drain_seconds": "HEADRACE_GATEWAY_DRAIN_SECONDS",
    "retry_seconds": "HEADRACE_GATEWAY_RETRY_SECONDS",
}
_RENAMED = {"HEADRACE_GATEWAY_DTYPE": "HEADRACE_POLICY_DTYPE"}
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_PATHS = ("model_directory", "spool_directory")
_TEXTS = ("host", "policy", "dtype", "bootstrap", "registry_url", "upstream_url")


def config_from_environment(
    environment: Mapping[str, str], argv: Sequence[str] = ()
) -> GatewayConfig:
    """Configuration from `HEADRACE_*`; an empty variable counts as unset.

    Raises:
        ConfigurationError: a value cannot be read, naming its variable, or cannot be.
    """
    parser = argparse.ArgumentParser(
        prog="python -m headrace.connectors.gateway",
        description="The gateway. Settings come from the environment: "
        + ", ".join(_NAMES.values()),
    )
    parser.add_argument("--model-directory", help="model of the engine (safetensors, tokenizer)")
    options = parser.parse_args(list(argv))
    for old, new in _RENAMED.items():
        if environment.get(old):
            raise ConfigurationError(f"{old} is now {new}: set that one")
    given = {name: environment[key] for name, key in _NAMES.items() if environment.get(key)}
    if options.model_directory:
        given["model_directory"] = options.model_directory
    return GatewayConfig(**{name: _read(name, text) for name, text in given.items()})


def _read(name: str, text: str) -> Any:
    if name in _PATHS:
        return Path(text)
    if name in _TEXTS or name == "upstream_api_key":
        return text
    if name == "api_keys":
        return frozenset(key.strip() for key in text.split(",") if key.strip())
    try:
        if name == "serve_base":
            return _FLAGS[text.lower()]
        return float(text) if name == "retry_seconds" else int(text)
    except (ValueError, KeyError) as error:
        wanted = "true or false" if name == "serve_base" else "a number"
        raise ConfigurationError(f"{_NAMES[name]} is {text!r}: give {wanted}") from error
