"""`python -m headrace.trainer`: the trainer process."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from headrace.connectors.kafka import KafkaClientError
from headrace.connectors.settings import BadSettings
from headrace.trainer.config import config_from_environment
from headrace.trainer.errors import Refused, TrainerError, TrainerFenced
from headrace.trainer.heartbeat import HEARTBEAT_S
from headrace.trainer.run import Trainer


def main(argv: Sequence[str] | None = None) -> int:
    """Train until SIGTERM; settings come from `HEADRACE_*` variables.

    Exit codes: 0 stopped; 1 another start may do better; 2 bad settings and 3 refused, which no
    other start mends.
    """
    parser = argparse.ArgumentParser(
        prog="python -m headrace.trainer", description="The trainer process."
    )
    parser.add_argument("--model-directory", type=Path, required=True, help="base model")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each schema asked for
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        trainer = Trainer(config_from_environment(arguments.model_directory))
    except BadSettings as error:
        logging.getLogger(__name__).critical("the trainer cannot start: %s", error)
        return 2
    try:
        trainer.run(stop)
    except TrainerFenced as error:
        # Started again it would fence the other, whose supervisor would start that again, for ever.
        logging.getLogger(__name__).error("%s. This one trains no more until it is stopped", error)
        while not stop.wait(HEARTBEAT_S):
            trainer.heartbeat.beat("fenced: another trainer of this policy and name has started")
        return 1
    except Refused as error:
        logging.getLogger(__name__).critical("the trainer cannot start: %s", error)
        return 3
    except (TrainerError, KafkaClientError) as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
