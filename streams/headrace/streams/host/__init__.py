"""Faust as the host of a stage: takes, acknowledgements, guard, ticks and heartbeat."""

from headrace.streams.host.app import build_app, run_stage
from headrace.streams.host.config import (
    HostConfig,
    host_config_from_environment,
    poison_limit_from_environment,
)

__all__ = [
    "HostConfig",
    "build_app",
    "host_config_from_environment",
    "poison_limit_from_environment",
    "run_stage",
]
