"""One of the three stages as a process, which gives an unknown schema id a second only.

Run by test_stage_conformance.py; its settings are `HEADRACE_*` in the environment.
"""

import logging
import sys
from dataclasses import replace

from headrace.streams.host import HostConfig, host_config_from_environment

UNKNOWN_S = 1.0


def host_of(name: str) -> HostConfig:
    """Small takes, so that a kill falls between some, and a halt is no later than need be."""
    return host_config_from_environment(name, take_records=20, take_ms=50)


def assemble() -> None:
    from headrace.streams.assemble.stage import config_from_environment, make_stage
    from headrace.streams.host import run_stage

    config = replace(config_from_environment(), unknown_schema_seconds=UNKNOWN_S)
    run_stage(lambda: make_stage(config), host_of("assemble"))


def credit() -> None:
    from headrace.streams.credit.config import config_from_environment
    from headrace.streams.credit.stage import credit_stage
    from headrace.streams.host import run_stage

    config = replace(config_from_environment(), unknown_schema_s=UNKNOWN_S)
    run_stage(lambda: credit_stage(config), host_of("credit"))


def sink() -> None:
    from headrace.streams.host import run_committed
    from headrace.streams.sink import config_from_environment, make_stage

    config = replace(config_from_environment(), unknown_schema_s=UNKNOWN_S)
    run_committed(lambda: make_stage(config), host_of("sink"))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    {"assemble": assemble, "credit": credit, "sink": sink}[sys.argv[1]]()
