"""Hosts of a stage: takes, acknowledgements, guard, ticks and heartbeat.

`faust` for topics of single writers; `committed` for those that are written in transactions.
"""

from headrace.streams.host.committed import run_committed
from headrace.streams.host.config import (
    HostConfig,
    host_config_from_environment,
    poison_limit_from_environment,
)
from headrace.streams.host.faust import build_app, run_stage

__all__ = [
    "HostConfig",
    "build_app",
    "host_config_from_environment",
    "poison_limit_from_environment",
    "run_committed",
    "run_stage",
]
