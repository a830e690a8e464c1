"""Records of the log as dictionaries; what cannot be one goes to the dead letters."""

import time
from typing import Any

from headrace.connectors.kafka import DeadLetters, LogRecord, letter_of
from headrace.schemas import Codec, MalformedRecord, UnknownSchemaId
from headrace.trainer.log import Record
from headrace.trainer.waiting import Patience

UNKNOWN_SCHEMA_S = 30.0
"""A registry that was restored may learn an id in a moment; then it is a poison record."""


class Decoder:
    """Decodes records, and waits while the registry is away."""

    def __init__(self, codec: Codec, dead_letters: DeadLetters, patience: Patience) -> None:
        self.dead_letters = 0
        self._codec = codec
        self._letters = dead_letters
        self._patience = patience

    def decode(self, record: Record) -> dict[str, Any] | None:
        """The record's content; None: it could not be read, and its dead letter is durable."""
        try:
            return self._patience.until_there(lambda: self._known(record))
        except (MalformedRecord, UnknownSchemaId) as error:
            topic, partition, offset, log_time = record.position
            refused = LogRecord(
                topic=topic,
                partition=partition,
                offset=offset,
                log_time=log_time,
                value=record.value,
            )
            letter = letter_of(refused, error, stage="trainer")
        self._patience.until_there(lambda: self._letters.send([letter]))
        self.dead_letters += 1
        return None

    def _known(self, record: Record) -> dict[str, Any]:
        give_up = time.monotonic() + UNKNOWN_SCHEMA_S
        while True:
            try:
                return self._codec.decode(record.position.topic, record.value)
            except UnknownSchemaId as error:
                if time.monotonic() > give_up:
                    raise
                self._patience.pause(str(error))
