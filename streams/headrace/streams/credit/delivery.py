"""Credits onto `headrace.credits`: one batch per partition and take, confirmed by the brokers."""

from collections.abc import Iterator, Sequence

from headrace.connectors.kafka import KafkaConfig, Outgoing, Writer, partitions_of
from headrace.schemas import Codec, Credits, CreditsBatch, partition_of, to_avro
from headrace.schemas.topics import Topic

TOPIC = Topic.CREDITS
_BYTES_A_RECORD = 2_000_000  # records may have 8 MiB, and one group stays in one record
_BYTES_A_SAMPLE = 200


class CreditsWriter:
    """Delivers Credits. Blocking; raises KafkaUnavailable or the registry's errors: do it again."""

    def __init__(self, config: KafkaConfig, codec: Codec) -> None:
        self._config = config
        self._codec = codec
        self._writer = Writer(config)
        self._partitions = 0

    def deliver(self, credits: Sequence[Credits]) -> None:
        """Return when all of them are on the topic."""
        if not credits:
            return
        if not self._partitions:
            self._partitions = partitions_of(self._config, TOPIC)
        self._writer.send(batches_of(credits, self._codec, self._partitions))

    def close(self) -> None:
        """Let the producer go."""
        self._writer.close()


def batches_of(credits: Sequence[Credits], codec: Codec, partitions: int) -> list[Outgoing]:
    """The records of some Credits. Raises the registry's errors."""
    by_partition: dict[int, list[Credits]] = {}
    for one in credits:
        by_partition.setdefault(partition_of(one.group_id, partitions), []).append(one)
    return [
        Outgoing(
            topic=TOPIC,
            partition=partition,
            value=codec.encode(TOPIC, to_avro(CreditsBatch(credits=batch))),
        )
        for partition, every in sorted(by_partition.items())
        for batch in _batches(every)
    ]


def _batches(credits: list[Credits]) -> Iterator[list[Credits]]:
    batch: list[Credits] = []
    size = 0
    for one in credits:
        more = _size(one)
        if batch and size + more > _BYTES_A_RECORD:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += more
    yield batch


def _size(credits: Credits) -> int:
    return sum(_BYTES_A_SAMPLE + len(sample.token_weights or b"") for sample in credits.samples)
