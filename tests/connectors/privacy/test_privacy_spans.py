"""Nothing of a span that is text or a token leaves unseen: told by the one table of its columns."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.privacy import Hidden, Privacy, PrivacySettings
from headrace.connectors.privacy.escapes import levels
from headrace.connectors.privacy.spans import IDS, kept
from headrace.connectors.sdk import SdkConfig
from headrace.connectors.sdk.content import prepared
from headrace.connectors.sdk.sealing import Sealer
from headrace.schemas import Call, Reward, Span, Start, new_span_id
from headrace.schemas.columns import SPAN_COLUMNS, Block, Column, Type
from headrace.schemas.vocabulary import Untrainable

SECRET = "alice@example.com"
REDACTING = PrivacySettings(redact=("all",))
PARTS = {Block.CALLS: "call", Block.REWARDS: "reward", Block.STARTS: "start"}
KINDS = {"call": "call", "reward": "reward", "start": "attempt.start"}
TEXTS = [
    column
    for column in SPAN_COLUMNS
    if column.type in (Type.WORD, Type.TEXT) and not column.among and column.name not in IDS
    if column.blocks != (Block.BATCH,)  # the producer is a ULID of our own
]


def a_call(**facts: Any) -> Call:
    return Call(
        prompt_ids=np.array([1, 2, 3], np.uint32),
        sampled_ids=np.array([4, 5], np.uint32),
        logprobs=np.array([-0.5, -0.25], np.float32),
        runs=((3, 2),),
        trainable=True,
        model="m",
        finish_reason="stop",
        **facts,
    )


def a_span(kind: str = "event", **fields: Any) -> Span:
    return Span(rollout_id="r1", attempt="a1", span_id=new_span_id(), kind=kind, name="n", **fields)


def planted(column: Column, block: Block, text: str) -> Span:
    """A span that holds a text in a column."""
    value: Any = (text,) if column.many else text
    part = PARTS.get(block)
    if part is None:
        assert block in (Block.SPANS, Block.EPISODES), f"where is {column.name} on a span?"
        return replace(a_span(), **{column.field: value})
    empty: dict[str, Any] = {
        "call": a_call(),
        "reward": Reward(name="r", value=1),
        "start": Start(),
    }
    return a_span(KINDS[part], **{part: replace(empty[part], **{column.field: value})})


def sealed(span: Span, settings: PrivacySettings) -> bytes:
    """The bytes of the record, which are those of the spool."""
    config = SdkConfig(bootstrap="b", registry_url="r", privacy=settings)
    made = prepared(span, config, Privacy(config.privacy, config.hidden))
    sealer = Sealer("01P", spans=1, size=1, partitions=1)
    sealer.add(made.span, made.size, 0.0)
    (batch,) = sealer.take(1.0)
    done = sealer.seal(batch, sealer.number(batch.spans))
    assert done.spans == 1
    return done.body


PLACES = [(column, block) for column in TEXTS for block in column.blocks]


@pytest.mark.parametrize(
    ("column", "block"), PLACES, ids=[f"{column.name}-{block}" for column, block in PLACES]
)
def test_every_column_of_text_is_redacted(column: Column, block: Block) -> None:
    span = planted(column, block, f"write to {SECRET} now")
    assert SECRET.encode() in sealed(span, PrivacySettings())
    assert SECRET.encode() not in sealed(span, REDACTING)


@pytest.mark.parametrize("column", [c for c in SPAN_COLUMNS if c.content or c.name == "expected"])
def test_without_content_no_text_and_no_token_is_left(column: Column) -> None:
    metadata = Privacy(PrivacySettings(capture="metadata"))
    tokens = column.type not in (Type.WORD, Type.TEXT)
    span = (
        a_span("call", call=a_call()) if tokens else planted(column, column.blocks[-1], "a secret")
    )
    made = kept(span, metadata)
    holder = getattr(made, PARTS.get(column.blocks[-1], ""), made)
    assert len(getattr(holder, column.field)) == 0


@given(
    place=st.sampled_from(PLACES),
    before=st.text(max_size=30),
    after=st.text(max_size=30),
    depth=st.integers(0, 2),
    ascii_only=st.booleans(),
)
def test_no_record_holds_a_planted_secret(
    place: tuple[Column, Block], before: str, after: str, depth: int, ascii_only: bool
) -> None:
    text = f"{before} {SECRET} {after}"
    for _ in range(depth):
        text = json.dumps([text, {text: 1}], ensure_ascii=ascii_only)
    if ascii_only:
        text = text.replace("@", "\\u0040")
    body = sealed(planted(*place, text), REDACTING)
    for plain in (body, *levels(body)):
        assert SECRET.encode() not in plain


@pytest.mark.parametrize("odd", [{"note": SECRET}, [SECRET], Exception(SECRET), f"\ud800 {SECRET}"])
@pytest.mark.parametrize("field", ["input", "output", "attributes", "name", "agent", "subject"])
def test_a_text_that_is_none_is_made_one_before_it_is_redacted(field: str, odd: Any) -> None:
    span = replace(a_span(), **{field: odd})
    assert SECRET.encode() not in sealed(span, REDACTING)


def test_a_long_text_is_redacted_before_it_is_cut() -> None:
    config = SdkConfig(bootstrap="b", registry_url="r", privacy=REDACTING, text_bytes=110)
    made = prepared(a_span(output="x" * 95 + f" {SECRET}"), config, Privacy(REDACTING))
    assert "alice" not in made.span.output


def test_a_call_whose_texts_held_something_loses_its_tokens() -> None:
    made = kept(a_span("call", call=a_call(), output=f"I am {SECRET}"), Privacy(REDACTING))
    assert made.output == "I am [email]"
    assert made.call is not None
    assert (len(made.call.prompt_ids), len(made.call.sampled_ids), len(made.call.logprobs)) == (
        0,
        0,
        0,
    )
    assert (made.call.trainable, made.call.untrainable_reason) == (False, Untrainable.REDACTED)
    clean = a_span("call", call=a_call(), output="I am nobody")
    assert kept(clean, Privacy(REDACTING)) is clean


def test_a_group_that_may_not_be_named_becomes_a_group_of_one() -> None:
    start = Start(group_id=SECRET, group_size=8, group_rollouts=("r1", "r2"), expected="42")
    made = kept(a_span("attempt.start", start=start), Privacy(REDACTING)).start
    assert made == Start(expected="42")


def test_metadata_keeps_facts() -> None:
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.request.temperature": 0.5,
        "error.type": "http_500",
        "error.message": "no such user alice",
        "gen_ai.output.messages": [{"role": "assistant"}],
        "my.note": "private",
        "my.number": 42,
    }
    span = a_span(
        "call",
        call=a_call(),
        status="error",
        input="hello",
        output="world",
        agent="writer",
        subject="s1",
        attributes=json.dumps(told),
    )
    made = kept(span, Privacy(PrivacySettings(capture="metadata")))
    assert made.call is not None
    assert (made.call.model, made.call.finish_reason, made.call.runs) == ("m", "stop", ((3, 2),))
    assert made.call.untrainable_reason == Untrainable.NOT_CAPTURED
    assert (made.name, made.agent, made.status, made.subject) == ("n", "writer", "error", "s1")
    assert json.loads(made.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.request.temperature": 0.5,
        "error.type": "http_500",
    }


def test_a_project_has_a_mode_of_its_own() -> None:
    privacy = Privacy(PrivacySettings(projects=("hr=metadata", "tests=none")))
    told = a_span(input="hello")
    assert kept(told, privacy).input == "hello"
    assert kept(replace(told, project="hr"), privacy).input == ""
    assert privacy.capture("tests") == "none"


@pytest.mark.parametrize(
    ("hidden", "left"),
    [
        ({Hidden.INPUTS}, ("", "out", 0)),
        ({Hidden.OUTPUTS}, ("in", "", 0)),
        ({Hidden.CONTENT}, ("", "", 0)),
        ({Hidden.INPUTS, Hidden.OUTPUTS}, ("", "", 0)),
        ({Hidden.TOOLS}, ("in", "out", 0)),
        (set(), ("in", "out", 2)),
    ],
)
def test_what_other_conventions_hide_is_left_out(
    hidden: set[Hidden], left: tuple[str, str, int]
) -> None:
    span = a_span("call", call=a_call(), input="in", output="out")
    made = kept(span, Privacy(PrivacySettings(), frozenset(hidden)))
    assert made.call is not None
    assert (made.input, made.output, len(made.call.sampled_ids)) == left
    ours = Privacy(PrivacySettings(honour_switches=False), frozenset(hidden))
    assert kept(span, ours) is span
