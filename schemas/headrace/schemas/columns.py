"""The one table of a span's columns: what travels in a SpanBatch and is in the table `spans`.

Writer and reader of the batches, the Arrow layout, the rebuild's query and the columns in
`docs/sql.md` are made from it; `span_batch.avsc`, the dataclasses of `spans` and the live table
are held equal to it by tests. Plain data: Arrow's and ClickHouse's types of a `Type` are in
`headrace.connectors.clickhouse.tables`.

To add a column: a line here, its field (with a default) in `span_batch.avsc` and in the dataclass
of its block, and a migration that adds it to `spans`.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from headrace.schemas.spans import KINDS, STATUSES


class Block(StrEnum):
    """Where a column comes from: the part of a SpanBatch that holds it, or the log itself."""

    LOG = "log"
    """The record's place in Kafka."""
    BATCH = ""
    """The batch, one value for all of its spans."""
    EPISODES = "episodes"
    """The attempt of a span: a record per attempt."""
    SPANS = "spans"
    """Every span: a packed column of the batch itself, or of its content."""
    CALLS = "calls"
    """Call spans: packed columns."""
    REWARDS = "rewards"
    """Reward spans: packed columns."""
    STARTS = "starts"
    """`attempt.start` spans: a record each."""
    ENDS = "ends"
    """`attempt.end` spans: a record each."""


class Type(StrEnum):
    """Type of a column's values."""

    WORD = "word"
    """Text of few different values: packed as uint16 index into the batch's strings."""
    TEXT = "text"
    SPAN_ID = "span id"
    """16 hexadecimal digits: packed as 8 bytes, zeros where it is empty."""
    BOOL = "bool"
    INT32 = "int32"
    INT64 = "int64"
    UINT32 = "uint32"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"


PACKED = {
    Type.WORD: "<u2",
    Type.BOOL: "u1",
    Type.INT32: "<i4",
    Type.INT64: "<i8",
    Type.UINT32: "<u4",
    Type.FLOAT32: "<f4",
    Type.FLOAT64: "<f8",
}
"""How numpy reads the packed values of a type, little-endian."""

ROW, INDEX = "<u4", "<u2"
"""How `row` of calls and rewards, and a span's index into `episodes`, are packed."""

_EMPTY: dict[Type, Any] = {Type.WORD: "", Type.TEXT: "", Type.SPAN_ID: "", Type.BOOL: False}


@dataclass(kw_only=True, slots=True, frozen=True)
class Column:
    """One column of the table `spans`, and where a SpanBatch has it."""

    name: str
    type: Type
    blocks: tuple[Block, ...]
    """Where it comes from; the last block that has a span's value gives it."""
    doc: str
    """What it means, for `docs/sql.md`."""
    field: str = ""
    """Its Avro field, and the attribute of the block's dataclass; by default its name."""
    nullable: bool = False
    """Whether it is null where nothing gave it a value."""
    unset: int | None = None
    """The packed value that stands for null."""
    optional: bool = False
    """Whether a span id may be empty."""
    among: tuple[str, ...] = ()
    """The words it may hold; it is packed as uint8, a position among them."""
    many: bool = False
    """Whether each span has a list of values."""
    lengths: str = ""
    """The Avro field with the lengths of packed lists, as uint32."""
    content: bool = False
    """Whether it lies in the batch's content, which a capture mode may leave out."""
    absent: int = 0
    """The number that is used where nothing gave it a value."""
    least: int | None = None
    """A start or end that states less is read as if it stated this."""

    packed: str = ""
    """numpy's name of its packed values; by default its type's."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", self.field or self.name)
        packed = "u1" if self.among else PACKED.get(self.type, "")
        object.__setattr__(self, "packed", self.packed or packed)

    @property
    def default(self) -> Any:
        """Its value in a row to which no block gives one."""
        if self.nullable:
            return None
        return [] if self.many else _EMPTY.get(self.type, self.absent)


def _column(name: str, type: Type, *blocks: Block, doc: str, **flags: Any) -> Column:
    return Column(name=name, type=type, blocks=blocks, doc=doc, **flags)


_T, _B = Type, Block
SPAN_COLUMNS: tuple[Column, ...] = (
    _column("project", _T.WORD, _B.EPISODES, doc="project"),
    _column("rollout_id", _T.TEXT, _B.EPISODES, doc="rollout"),
    _column("attempt", _T.TEXT, _B.EPISODES, doc="attempt at the rollout"),
    _column("span_id", _T.SPAN_ID, _B.SPANS, doc="the span; unique in its attempt"),
    _column("subject", _T.TEXT, _B.EPISODES, nullable=True, doc="whose data it is"),
    _column("partition", _T.UINT32, _B.LOG, doc="its partition of `headrace.spans`"),
    _column("offset", _T.UINT64, _B.LOG, doc="offset of its record"),
    _column("log_time", _T.INT64, _B.LOG, doc="milliseconds, the broker's clock"),
    _column("ver", _T.INT64, _B.LOG, doc="minus the offset: the first occurrence wins"),
    _column("producer", _T.TEXT, _B.BATCH, doc="who sealed the batch: one incarnation"),
    _column("sequence", _T.UINT64, _B.BATCH, doc="number of the batch, by producer and partition"),
    _column("episode_batch", _T.UINT32, _B.EPISODES, doc="number of the batch for this attempt"),
    _column(
        "parent_id", _T.SPAN_ID, _B.SPANS, optional=True,
        doc="span that it is part of; empty: none",
    ),
    _column("kind", _T.WORD, _B.SPANS, among=KINDS, doc=", ".join(f"`{kind}`" for kind in KINDS)),
    _column("name", _T.WORD, _B.SPANS, doc="what was done: of the tool, event, call"),
    _column("agent", _T.WORD, _B.SPANS, doc="agent or role that acted"),
    _column("status", _T.WORD, _B.SPANS, among=STATUSES, doc="`unset`, `ok` or `error`"),
    _column("started_at", _T.INT64, _B.SPANS, doc="nanoseconds, the agent's clock"),
    _column("ended_at", _T.INT64, _B.SPANS, doc="nanoseconds, the agent's clock"),
    _column("model", _T.WORD, _B.CALLS, doc="model that answered"),
    _column("policy", _T.WORD, _B.CALLS, _B.STARTS, doc="policy of the call, or of the attempt"),
    _column("response_id", _T.TEXT, _B.CALLS, doc="response id that the client saw"),
    _column(
        "run_versions", _T.UINT32, _B.CALLS, field="run_version", many=True, lengths="run_count",
        doc="policy versions that sampled the tokens, in order",
    ),
    _column(
        "run_lengths", _T.UINT32, _B.CALLS, field="run_length", many=True, lengths="run_count",
        doc="how many tokens each of them sampled",
    ),
    _column("temperature", _T.FLOAT32, _B.CALLS, doc="effective sampling temperature"),
    _column("top_p", _T.FLOAT32, _B.CALLS, doc="effective top-p"),
    _column("top_k", _T.INT32, _B.CALLS, doc="effective top-k; 0: off"),
    _column("seed", _T.INT64, _B.CALLS, nullable=True, unset=-1, doc="sampling seed"),
    _column("max_tokens", _T.INT32, _B.CALLS, doc="limit of the completion"),
    _column("finish_reason", _T.WORD, _B.CALLS, doc="why the completion ended"),
    _column("trainable", _T.BOOL, _B.CALLS, doc="whether its producer held it for trainable"),
    _column("untrainable_reason", _T.WORD, _B.CALLS, doc="why it is not trainable"),
    _column("prompt_base", _T.TEXT, _B.CALLS, doc="call whose tokens the prompt begins with"),
    _column("prompt_base_length", _T.UINT32, _B.CALLS, doc="how many tokens it takes from it"),
    _column("reward_name", _T.WORD, _B.REWARDS, field="name", doc="dimension of the reward"),
    _column(
        "reward_value", _T.FLOAT64, _B.REWARDS, field="value", nullable=True,
        doc="the reward; null in every other span",
    ),
    _column("reward_source", _T.WORD, _B.REWARDS, field="source", doc="who gave it"),
    _column(
        "reward_target", _T.TEXT, _B.REWARDS, field="target",
        doc="call or response it belongs to; empty: the episode",
    ),
    _column("group_id", _T.TEXT, _B.STARTS, doc="group of the rollout"),
    _column("group_size", _T.UINT32, _B.STARTS, least=1, doc="rollouts in the group"),
    _column(
        "group_rollouts", _T.TEXT, _B.STARTS, many=True,
        doc="all rollouts of the group, where its source knows them",
    ),
    _column("split", _T.WORD, _B.STARTS, doc="`train` or `eval`"),
    _column("deadline", _T.INT64, _B.STARTS, doc="milliseconds, log time; 0: none"),
    _column("expected", _T.TEXT, _B.STARTS, doc="expected answer"),
    _column(
        "last_episode_batch", _T.INT32, _B.ENDS, absent=-1, least=0,
        doc="last `episode_batch` of the producer; -1 but in an end span",
    ),
    _column(
        "has_content", _T.BOOL, _B.BATCH, doc="whether its batch holds texts, tokens or attributes"
    ),
    _column("attributes", _T.TEXT, _B.SPANS, content=True, doc="further facts, as JSON"),
    _column("input", _T.TEXT, _B.SPANS, content=True, doc="task input, messages, arguments"),
    _column("output", _T.TEXT, _B.SPANS, content=True, doc="completion, tool result, result"),
    _column(
        "prompt_ids", _T.UINT32, _B.CALLS, many=True, lengths="prompt_length", content=True,
        doc="prompt tokens beyond `prompt_base_length`",
    ),
    _column(
        "sampled_ids", _T.UINT32, _B.CALLS, many=True, lengths="sampled_length", content=True,
        doc="tokens that the model sampled",
    ),
    _column(
        "logprobs", _T.FLOAT32, _B.CALLS, many=True, lengths="sampled_length", content=True,
        doc="their log-probabilities under the sampling distribution",
    ),
)  # fmt: skip
"""In the order of the table."""


@cache
def columns_of(block: Block) -> tuple[Column, ...]:
    """The columns that a block gives."""
    return tuple(column for column in SPAN_COLUMNS if block in column.blocks)
