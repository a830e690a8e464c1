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
            _sink()
        case _:
            sys.exit("usage: python -m headrace.streams assemble|credit|sink")


def _assemble() -> None:
    from headrace.streams.assemble.stage import NAME, config_from_environment, make_stage
    from headrace.streams.host.config import host_config_from_environment
    from headrace.streams.host.faust import run_stage

    config = config_from_environment()
    host = host_config_from_environment(
        NAME, take_records=config.take_records, take_ms=config.take_ms
    )
    run_stage(lambda: make_stage(config), host)


def _credit() -> None:
    from headrace.streams.credit.stage import NAME, make_stage
    from headrace.streams.host.config import host_config_from_environment
    from headrace.streams.host.faust import run_stage

    run_stage(make_stage, host_config_from_environment(NAME))


def _sink() -> None:
    from headrace.streams.errors import StreamsSettingsError
    from headrace.streams.host.committed import run_committed
    from headrace.streams.host.config import host_config_from_environment
    from headrace.streams.sink.config import config_from_environment
    from headrace.streams.sink.stage import NAME, make_stage

    try:
        config = config_from_environment()
        host = host_config_from_environment(
            NAME,
            take_records=config.batch_records,
            take_ms=round(config.batch_s * 1000),
            session_timeout_s=config.session_timeout_s,
        )
    except StreamsSettingsError as error:
        logging.getLogger(__name__).critical("%s", error)
        sys.exit(2)
    run_committed(lambda: make_stage(config), host)


if __name__ == "__main__":
    main(sys.argv[1:])
