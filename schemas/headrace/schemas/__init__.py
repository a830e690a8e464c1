"""The wire of headrace: Avro schemas, their codec, records, spans and ids.

`avro/*.avsc` are the truth. `records` and `policy_records` mirror them as dataclasses; `columns`
is the table of a span's columns, from which `span_writer` and `span_reader` build and read the
batches of spans; `topics` and `vocabulary` are the names and words of the wire. Imports no other
part of headrace and reaches no network. What is listed here is what an agent, a rule or a reader
of a topic needs; columns, topics and words are imported from their modules.
"""

from headrace.schemas.codec import SCHEMA_FILES, Codec, encode_body, frame, schema_text, unframe
from headrace.schemas.errors import (
    InvalidId,
    MalformedRecord,
    RegistryUnavailable,
    SchemaError,
    Unavailable,
    UnknownSchemaId,
)
from headrace.schemas.ids import (
    call_id,
    check_id,
    episode_id,
    murmur2,
    new_span_id,
    new_ulid,
    partition_of,
    response_id,
    sample_id,
)
from headrace.schemas.policy_records import (
    Offset,
    PolicyRecord,
    PolicyVersion,
    PrunedVersion,
    Traffic,
    TrafficShare,
)
from headrace.schemas.records import (
    Credits,
    CreditsBatch,
    Episode,
    EpisodeBatch,
    EpisodeCall,
    EpisodeReward,
    EpisodeTool,
    Halt,
    Member,
    Outcome,
    Sample,
    SampleCredit,
    Task,
    from_avro,
    to_avro,
)
from headrace.schemas.span_reader import SpanColumns, Texts, read_span_batch
from headrace.schemas.span_writer import build_span_batch
from headrace.schemas.spans import (
    KIND,
    KINDS,
    NO_SPAN,
    STATUSES,
    Call,
    Reward,
    Span,
    Start,
)

__all__ = [
    "KIND",
    "KINDS",
    "NO_SPAN",
    "SCHEMA_FILES",
    "STATUSES",
    "Call",
    "Codec",
    "Credits",
    "CreditsBatch",
    "Episode",
    "EpisodeBatch",
    "EpisodeCall",
    "EpisodeReward",
    "EpisodeTool",
    "Halt",
    "InvalidId",
    "MalformedRecord",
    "Member",
    "Offset",
    "Outcome",
    "PolicyRecord",
    "PolicyVersion",
    "PrunedVersion",
    "RegistryUnavailable",
    "Reward",
    "Sample",
    "SampleCredit",
    "SchemaError",
    "Span",
    "SpanColumns",
    "Start",
    "Task",
    "Texts",
    "Traffic",
    "TrafficShare",
    "Unavailable",
    "UnknownSchemaId",
    "build_span_batch",
    "call_id",
    "check_id",
    "encode_body",
    "episode_id",
    "frame",
    "from_avro",
    "murmur2",
    "new_span_id",
    "new_ulid",
    "partition_of",
    "read_span_batch",
    "response_id",
    "sample_id",
    "schema_text",
    "to_avro",
    "unframe",
]
