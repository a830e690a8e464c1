"""Episodes as records of `headrace.episodes` bring them."""

from headrace.connectors.kafka import LogRecord
from headrace.schemas import Codec, EpisodeBatch, SchemaError, Unavailable, from_avro
from headrace.schemas.topics import Topic
from headrace.streams.credit.core import Arrival

TOPIC = Topic.EPISODES


def arrivals_of(codec: Codec, record: LogRecord) -> list[Arrival]:
    """The episodes of a record. Raises SchemaError."""
    data = codec.decode(TOPIC, record.value)
    return [
        Arrival(partition=record.partition, log_time=record.log_time, episode=episode)
        for episode in from_avro(EpisodeBatch, data).episodes
    ]


def readable_arrivals(codec: Codec, record: LogRecord) -> list[Arrival]:
    """The same of a record that is read once more: what cannot be read was set aside before.

    Raises RegistryUnavailable.
    """
    if record.tick:
        return []
    try:
        return arrivals_of(codec, record)
    except Unavailable:
        raise
    except SchemaError:
        return []
