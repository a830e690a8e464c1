"""A trainer process that stands still around a commit, so that a test can kill it right there.

Arguments: `writing` (the checkpoint), `before` or `after` (the commit), the number of the
transaction, the file to make when it stands there, the model directory.
"""

import sys
import threading
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from headrace.connectors.kafka import KafkaConfig
from headrace.connectors.kafka.config import producer_settings
from headrace.trainer import checkpoint, publish
from headrace.trainer.__main__ import main


class StoppingProducer(Producer):
    """Stands still before or after one of its commits."""

    moment, number, marker = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    commits = 0

    def commit_transaction(self, *timeout: float) -> None:
        StoppingProducer.commits += 1
        here = StoppingProducer.commits == self.number
        if here and self.moment == "before":
            self.flush()  # every record of the transaction is on the broker, not committed
            self._stand_still()
        super().commit_transaction(*timeout)
        if here and self.moment == "after":
            self._stand_still()

    @classmethod
    def _stand_still(cls) -> None:
        cls.marker.touch()
        threading.Event().wait()


def stopping_producer(config: KafkaConfig, **settings: Any) -> StoppingProducer:
    """In the place of `make_producer`."""
    return StoppingProducer(producer_settings(config, **settings))


def save(*arguments: Any) -> checkpoint.Saved:
    """Stands still when the checkpoint is whole and its version is not committed, in its thread."""
    saved = _save(*arguments)
    if StoppingProducer.moment == "writing" and saved.version == StoppingProducer.number - 1:
        StoppingProducer._stand_still()
    return saved


_save = checkpoint.save
setattr(checkpoint, "save", save)  # noqa: B010 - as below
setattr(publish, "make_producer", stopping_producer)  # noqa: B010 - not a name it exports
sys.exit(main(["--model-directory", sys.argv[4]]))
