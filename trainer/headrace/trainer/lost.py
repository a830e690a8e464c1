"""When the log no longer holds what the last committed version still needs.

The trainer halts, as the stream stages do: durably, and until a person accepts the
loss with `headrace resume --accept-loss`.
"""

import logging
from collections.abc import Iterator, Mapping

from headrace.connectors.kafka import (
    HALTED,
    HaltLog,
    KafkaConfig,
    Offsets,
    Partition,
    accepts,
    lost_range,
)
from headrace.schemas import Codec, Halt, to_avro
from headrace.trainer.heartbeat import Heartbeat
from headrace.trainer.waiting import Patience

logger = logging.getLogger(__name__)

STAGE = "trainer"
ASK_S = 2.0


def losses(
    group: str,
    offsets: Mapping[Partition, int],
    starts: Mapping[Partition, int],
    standing: Mapping[tuple[str, Partition], Halt],
) -> Iterator[Halt]:
    """Ranges that were to be read, are gone, and have not been given up by anybody.

    `offsets` are the lowest undecided, `starts` where the log begins, `standing` the last halt
    of each (consumer group, partition).
    """
    for where, offset in sorted(offsets.items()):
        start = starts[where]
        if offset < start and not accepts(standing.get((group, where)), offset, start):
            yield lost_range(STAGE, group, where, offset, start)


def readable(
    kafka: KafkaConfig,
    codec: Codec,
    patience: Patience,
    heartbeat: Heartbeat,
    *,
    group: str,
    offsets: Mapping[Partition, int],
) -> dict[Partition, int]:
    """The offsets at which to read on; returns when no loss is left to accept.

    Raises Stopped while it waits.
    """
    asking = Offsets(kafka)
    halts = HaltLog(kafka, codec)
    try:
        while True:
            starts = patience.until_there(lambda: asking.starts(offsets))
            # Committed without a version when groups were dropped: all before it is decided.
            done = patience.until_there(lambda: asking.committed(group, offsets))
            missed = {where: max(at, done.get(where, at)) for where, at in offsets.items()}
            standing = patience.until_there(halts.read)
            lost = list(losses(group, missed, starts, standing))
            if not lost:
                return {where: max(offset, starts[where]) for where, offset in offsets.items()}
            for halt in lost:
                _halt(halt, standing.get((group, (halt.topic, halt.partition))), halts, patience)
            heartbeat.beat("halted", halted=[to_avro(halt) for halt in lost])
            patience.pause(seconds=ASK_S)
    finally:
        halts.close()


def _halt(halt: Halt, standing: Halt | None, halts: HaltLog, patience: Patience) -> None:
    if standing is not None and standing.state == HALTED and standing.end == halt.end:
        return
    patience.until_there(lambda: halts.write(halt))
    logger.error(
        "%s/%d is halted: %s; `headrace resume --accept-loss` goes on without them",
        halt.topic,
        halt.partition,
        halt.message,
    )
