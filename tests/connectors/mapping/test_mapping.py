"""Spans of OpenTelemetry as spans of headrace: every convention, and whatever else may come."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.mapping import Place, Refusal, SourceEvent, SourceSpan, map_span
from headrace.connectors.mapping.conventions import conventions
from headrace.connectors.mapping.spread import gathered
from headrace.connectors.privacy import Privacy
from headrace.connectors.sdk import SdkConfig
from headrace.connectors.sdk.content import prepared
from headrace.schemas import KINDS, build_span_batch, response_id
from headrace.schemas.ids import span_of_response
from headrace.schemas.vocabulary import SpanKind
from tests.connectors.mapping.golden import RECORDED, said

CONFIG = SdkConfig(bootstrap="nowhere:1", registry_url="http://nowhere")
ITEMS = [
    pytest.param(item, id=f"{path.stem}: {item['what']}")
    for path in sorted(Path(RECORDED).glob("*.json"))
    for item in json.loads(path.read_text())
]


def make(**changes: Any) -> SourceSpan:
    plain: dict[str, Any] = {
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "span_id": "00f067aa0ba902b7",
        "name": "work",
        "started_at": 1,
        "ended_at": 2,
    }
    return SourceSpan(**(plain | changes))


@pytest.mark.parametrize("item", ITEMS)
def test_every_convention_says_what_it_meant(item: dict[str, Any]) -> None:
    assert said(item["span"]) == item["says"]


def test_every_kind_of_the_conventions_is_one_of_ours() -> None:
    known = conventions()
    named = [*known.implied.values(), *known.span_names.values()]
    named += [kind for kinds in known.kinds.values() for kind in kinds.values()]

    assert set(named) <= {*KINDS, "agent"}


def test_a_tool_whose_status_says_nothing_says_what_was_raised() -> None:
    raised = SourceEvent(name="exception", at=1, attributes={"exception.message": "broken"})
    facts = {"gen_ai.operation.name": "execute_tool"}

    tool, exception = map_span(make(attributes=facts, events=(raised,), status="error")).spans

    assert (tool.status, tool.output, exception.kind) == ("error", "broken", "exception")


def test_arguments_are_taken_out_of_a_python_call_that_has_only_named_ones() -> None:
    def given(text: str) -> str:
        facts = {"openinference.span.kind": "TOOL", "input.value": text}
        (tool,) = map_span(make(attributes=facts)).spans
        return tool.input

    assert given('{"args": [], "kwargs": {"a": 6}}') == '{"a": 6}'
    for kept in ('{"args": [1], "kwargs": {"a": 6}}', '{"kwargs": {}, "b": 1}', '{"kwargs": 1}'):
        assert given(kept) == kept


def test_the_caller_may_say_where_a_span_belongs() -> None:
    place = Place(project="p", rollout_id="r", attempt="a", root="00000000000000aa")
    told = {"headrace.rollout_id": "other"}

    (span,) = map_span(make(attributes=told), place=place).spans

    assert (span.project, span.rollout_id, span.attempt) == ("p", "r", "a")
    assert span.parent_id == "00000000000000aa"


def test_a_span_names_its_attempt_before_its_resource_and_headrace_before_others() -> None:
    source = make(
        attributes={"agentlightning.attempt_id": "of-span"},
        resource={
            "agentlightning.rollout_id": "theirs",
            "headrace.rollout_id": "ours",
            "agentlightning.attempt_id": "of-resource",
        },
    )

    (span,) = map_span(source, project="mine").spans

    assert (span.project, span.rollout_id, span.attempt) == ("mine", "ours", "of-span")


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"span_id": ""}, Refusal.NO_SPAN_ID),
        ({"span_id": "0" * 16}, Refusal.NO_SPAN_ID),
        ({"span_id": "zzzzzzzzzzzzzzzz"}, Refusal.NO_SPAN_ID),
        ({"span_id": "00 67aa0ba902b7 "}, Refusal.NO_SPAN_ID),
        ({"trace_id": ""}, Refusal.NO_TRACE_ID),
        ({"trace_id": "0" * 32}, Refusal.NO_TRACE_ID),
        ({"attributes": {"headrace.rollout_id": "a b"}}, Refusal.ILLEGAL_ID),
        ({"resource": {"headrace.attempt": 5}}, Refusal.ILLEGAL_ID),
    ],
)
def test_a_span_without_a_place_is_refused_for_a_reason(
    changes: dict[str, Any], refusal: Refusal
) -> None:
    mapped = map_span(make(**changes))

    assert (mapped.spans, mapped.refused) == ((), refusal)
    assert refusal.words


def test_ids_are_read_in_any_case() -> None:
    source = make(span_id="00F067AA0BA902B7", parent_id="ABCDEF0123456789")

    (span,) = map_span(source).spans

    assert (span.span_id, span.parent_id) == ("00f067aa0ba902b7", "abcdef0123456789")


def test_what_is_inside_a_span_has_the_same_id_each_time_it_is_read() -> None:
    event = SourceEvent(name="exception", at=1, attributes={"exception.type": "E"})
    source = make(events=(event,))

    assert map_span(source) == map_span(source)
    assert len({span.span_id for span in map_span(source).spans}) == 2


def test_no_attribute_is_lost_that_has_no_column() -> None:
    told = {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.temperature": 0.5, "x": 1}

    (span,) = map_span(make(attributes=told)).spans

    assert json.loads(span.attributes) == told


def test_a_gateways_response_is_known_by_its_id_whatever_api_it_answered() -> None:
    assert span_of_response(response_id("00f067aa0ba902b7")) == "00f067aa0ba902b7"
    assert span_of_response("resp_00f067aa0ba902b7") == "00f067aa0ba902b7"
    assert span_of_response("msg_00f067aa0ba902b7_0") == ""
    assert span_of_response("chatcmpl-AbC") == ""


@pytest.mark.parametrize("value", ["much", None, [], {"a": 1}, float("inf")])
def test_a_reward_that_is_no_number_is_no_reward_of_zero(value: Any) -> None:
    told = {"agentlightning.reward.0.name": "r", "agentlightning.reward.0.value": value}

    (span,) = map_span(make(name="agentlightning.annotation", attributes=told)).spans

    if value is None:
        assert span.kind == SpanKind.EVENT
    else:
        assert span.reward is not None
        assert not math.isfinite(span.reward.value)


def test_spread_lists_come_back_in_their_order() -> None:
    named = {"10.role": "c", "2.role": "b", "0.message.role": "a", "0.message.tool_calls.0.id": 1}

    made = gathered(named, {"message"})

    assert made == [{"role": "a", "tool_calls": [{"id": 1}]}, {"role": "b"}, {"role": "c"}]


KEYS = sorted(
    {
        *conventions().fields,
        *conventions().kinds,
        *conventions().implied,
        *(f"{prefix}{rest}" for prefix, _ in conventions().prefixes for rest in ("0", "0.a", ".")),
        *("agentlightning.reward.0.value", "agentlightning.link.0.key_match", "", ".", "ü"),
    }
)
WORDS = sorted({word for kinds in conventions().kinds.values() for word in kinds})
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from([*WORDS, '{"id":"chatcmpl-00f067aa0ba902b7"}', "\ud800", "Error: x", "[" * 9]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.binary(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=5,
)
ATTRIBUTES = st.dictionaries(st.one_of(st.sampled_from(KEYS), TEXTS), VALUES, max_size=8)
EVENTS = st.builds(
    SourceEvent,
    name=st.sampled_from([*conventions().events, "other", "", "\ud800"]),
    at=st.integers(),
    attributes=ATTRIBUTES,
)
HEX = st.one_of(st.text("0123456789abcdefABCDEF ", max_size=33), TEXTS)
SOURCES = st.builds(
    SourceSpan,
    trace_id=st.one_of(st.just("4bf92f3577b34da6a3ce929d0e0e4736"), HEX),
    span_id=st.one_of(st.just("00f067aa0ba902b7"), HEX),
    parent_id=HEX,
    name=st.one_of(TEXTS, st.sampled_from(sorted(conventions().span_names))),
    started_at=st.integers(),
    ended_at=st.integers(),
    status=st.sampled_from(["unset", "ok", "error"]),
    status_message=TEXTS,
    attributes=ATTRIBUTES,
    events=st.lists(EVENTS, max_size=3).map(tuple),
    resource=ATTRIBUTES,
    scope=TEXTS,
)


@settings(max_examples=400, deadline=None)
@given(SOURCES)
def test_whatever_a_span_holds_it_becomes_spans_that_a_batch_takes(source: SourceSpan) -> None:
    mapped = map_span(source)

    assert bool(mapped.spans) != bool(mapped.refused)
    batch = [prepared(span, CONFIG, Privacy(CONFIG.privacy))[0] for span in mapped.spans]
    assert len({span.span_id for span in batch}) == len(batch)
    for span in batch:
        key = (span.project, span.rollout_id, span.attempt)
        build_span_batch([span], producer="p", sequence=0, episode_batches={key: 0})


def test_a_span_of_any_size_is_bounded() -> None:
    huge = {f"k{n}": "x" * 1_000 for n in range(5_000)} | {"input.value": ["y" * 100] * 100_000}

    (span,) = map_span(make(name="n" * 5_000, attributes=huge)).spans

    assert len(span.name) == 1_024
    assert len(span.attributes) < 150_000
    assert len(span.input) < 3_000_000
