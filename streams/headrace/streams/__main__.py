"""`python -m headrace.streams assemble|credit|sink`: one stream process."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from headrace.connectors.settings import BadSettings, Fault, from_environment

WRONG_SETTINGS = 2


def main(argv: Sequence[str]) -> None:
    """Run the named process until it is told to stop; exit code 2: its settings cannot be."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("aiokafka", "faust", "httpx2", "mode"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    run = {"assemble": _assemble, "credit": _credit, "sink": _sink}.get(" ".join(argv))
    if run is None:
        sys.exit("usage: python -m headrace.streams assemble|credit|sink")
    try:
        run()
    except BadSettings as error:
        logging.getLogger(__name__).critical("%s cannot start: %s", argv[0], error)
        sys.exit(WRONG_SETTINGS)


# Each process imports only what it needs.


def _assemble() -> None:
    from headrace.streams.assemble.config import AssembleConfig
    from headrace.streams.assemble.stage import NAME, make_stage
    from headrace.streams.host.config import host_config_from_environment
    from headrace.streams.host.faust import run_stage

    config = from_environment(AssembleConfig, NAME, os.environ)
    host = host_config_from_environment(NAME)
    run_stage(lambda: make_stage(config, host), host)


def _credit() -> None:
    from headrace.connectors.engines.roles import roles_from_environment
    from headrace.streams.credit.config import CreditSettings
    from headrace.streams.credit.stage import NAME, make_stage
    from headrace.streams.host.config import host_config_from_environment
    from headrace.streams.host.faust import run_stage
    from headrace.streams.reward import RewardError

    settings = from_environment(CreditSettings, NAME, os.environ)
    config = replace(settings, roles=roles_from_environment(os.environ))
    host = host_config_from_environment(NAME)
    try:
        stage = make_stage(config, host)
    except RewardError as error:
        raise BadSettings([Fault(NAME, "rule", f"is {config.rule!r}: {error}")]) from error
    run_stage(lambda: stage, host)


def _sink() -> None:
    from headrace.streams.host.committed import run_committed
    from headrace.streams.host.config import host_config_from_environment
    from headrace.streams.sink.config import SinkSettings
    from headrace.streams.sink.stage import NAME, make_stage

    config = from_environment(SinkSettings, NAME, os.environ)
    host = host_config_from_environment(
        NAME, take_records=config.take_records, take_ms=config.take_ms
    )
    run_committed(lambda: make_stage(host), host)


if __name__ == "__main__":
    main(sys.argv[1:])
