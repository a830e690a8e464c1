"""One of the three stages as a process, which gives an unknown schema id a second only.

Run by test_stage_conformance.py; its settings are `HEADRACE_*` in the environment.
"""

import logging
import os
import sys

from headrace.connectors.settings import from_environment
from headrace.streams.host.config import HostConfig, host_config_from_environment

UNKNOWN_S = 1.0


def host_of(name: str) -> HostConfig:
    """Small takes, so that a kill falls between some, and a halt is no later than need be."""
    return host_config_from_environment(
        name, take_records=20, take_ms=50, unknown_schema_s=UNKNOWN_S
    )


def assemble() -> None:
    from headrace.streams.assemble.config import AssembleConfig
    from headrace.streams.assemble.stage import make_stage
    from headrace.streams.host.faust import run_stage

    config, host = from_environment(AssembleConfig, "assemble", os.environ), host_of("assemble")
    run_stage(lambda: make_stage(config, host), host)


def credit() -> None:
    from headrace.streams.credit.config import CreditSettings
    from headrace.streams.credit.stage import make_stage
    from headrace.streams.host.faust import run_stage

    config, host = from_environment(CreditSettings, "credit", os.environ), host_of("credit")
    run_stage(lambda: make_stage(config, host), host)


def sink() -> None:
    from headrace.streams.host.committed import run_committed
    from headrace.streams.sink.stage import make_stage

    host = host_of("sink")
    run_committed(lambda: make_stage(host), host)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    {"assemble": assemble, "credit": credit, "sink": sink}[sys.argv[1]]()
