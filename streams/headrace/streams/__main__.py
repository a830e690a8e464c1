"""`python -m headrace.streams assemble|credit|sink`: one stream process."""

import logging
import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> None:
    """Run the named process until it is told to stop."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("aiokafka", "faust", "httpx2", "mode"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Each process imports only what it needs.
    match list(argv):
        case ["assemble"]:
            _assemble()
        case ["credit"]:
            _credit()
        case ["sink"]:
            from headrace.streams.sink import main as sink

            sink()
        case _:
            sys.exit("usage: python -m headrace.streams assemble|credit|sink")


def _assemble() -> None:
    from headrace.streams.assemble.stage import (
        NAME,
        SPANS,
        config_from_environment,
        make_stage,
    )
    from headrace.streams.host.app import run_stage
    from headrace.streams.host.config import host_config_from_environment

    config = config_from_environment()
    host = host_config_from_environment(
        NAME, SPANS, take_records=config.take_records, take_ms=config.take_ms
    )
    run_stage(lambda: make_stage(config), host)


def _credit() -> None:
    from headrace.schemas.topics import Topic
    from headrace.streams.credit.stage import make_stage
    from headrace.streams.host.app import run_stage
    from headrace.streams.host.config import host_config_from_environment

    run_stage(make_stage, host_config_from_environment("credit", Topic.EPISODES))


if __name__ == "__main__":
    main(sys.argv[1:])
