"""What halts a trainer, durably: trouble that another start would only meet again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from headrace.connectors.kafka import Guard, Patience
from headrace.schemas.topics import Topic
from headrace.schemas.vocabulary import HaltReason
from headrace.trainer.errors import CheckpointError, NoSpace


class Halted(Exception):
    """A partition may not be read on; recovery waits until a person lets it."""


def halt(guard: Guard, patience: Patience, reason: HaltReason, message: str) -> NoReturn:
    """Stand still until `headrace resume`: writes it down, then raises Halted."""
    patience.until_done(lambda: guard.halt((Topic.CREDITS, 0), reason, message))
    raise Halted(message)


@contextmanager
def halting(guard: Guard, patience: Patience) -> Iterator[None]:
    """Halt where the block finds no room for a checkpoint, or none that it can use.

    What was not committed is not kept: after the resumption it is made again.
    """
    try:
        yield
    except NoSpace as error:
        halt(guard, patience, HaltReason.NO_SPACE, str(error))
    except CheckpointError as error:
        halt(guard, patience, HaltReason.CHECKPOINT, str(error))
