"""Built episodes and samples as records of their topics."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from headrace.connectors.kafka import Outgoing
from headrace.schemas import Codec, Episode, EpisodeBatch, Sample, partition_of, to_avro
from headrace.schemas.topics import Topic
from headrace.streams.assemble.build import Built, text_bytes

EPISODES, SAMPLES = Topic.EPISODES, Topic.SAMPLES

_partition_of = lru_cache(maxsize=1 << 14)(partition_of)  # a group has many samples


def outgoing(built: Built, codec: Codec, *, partitions: int, message_bytes: int) -> list[Outgoing]:
    """Samples first (rule: samples before episodes).

    Episodes travel together, in records of about `message_bytes` at most. Raises
    RegistryUnavailable where a schema id is not known yet.
    """
    records = [_sample(sample, codec, partitions) for sample in built.samples]
    homes: dict[int, list[Episode]] = {}
    for episode in built.episodes:
        homes.setdefault(_partition_of(episode.group_id, partitions), []).append(episode)
    for home, episodes in sorted(homes.items()):
        for chunk in _chunks(episodes, message_bytes):
            value = codec.encode(EPISODES, to_avro(EpisodeBatch(episodes=chunk)))
            records.append(Outgoing(topic=EPISODES, value=value, partition=home))
    return records


def _sample(sample: Sample, codec: Codec, partitions: int) -> Outgoing:
    return Outgoing(
        topic=SAMPLES,
        key=sample.group_id,
        value=codec.encode(SAMPLES, to_avro(sample)),
        partition=_partition_of(sample.group_id, partitions),
    )


def _chunks(episodes: Sequence[Episode], message_bytes: int) -> Iterator[list[Episode]]:
    chunk: list[Episode] = []
    size = 0
    for episode in episodes:
        entries = len(episode.calls) + len(episode.tools) + len(episode.rewards)
        grown = text_bytes(episode) + 200 * (entries + 4)
        if chunk and size + grown > message_bytes:
            yield chunk
            chunk, size = [], 0
        chunk.append(episode)
        size += grown
    if chunk:
        yield chunk
