"""Batches as the SDK seals them: numbers without gaps, nothing lost, bad spans left out alone."""

import json
from collections import defaultdict
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.sdk.content import CUT, CUT_BYTES, check_span, cut
from headrace.connectors.sdk.sealing import TOPIC, SealedBatch, Sealer, Ticket
from headrace.schemas import (
    Call,
    Codec,
    InvalidId,
    Span,
    Start,
    frame,
    new_span_id,
    partition_of,
    read_span_batch,
)


class _OneSchema:
    def schema_id(self, topic: str) -> int:
        return 1

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        from headrace.schemas import schema_text

        schema: dict[str, Any] = json.loads(schema_text(TOPIC))
        return schema


CODEC = Codec(_OneSchema())
_WORDS: Any = ["no", "tokens"]
UNSENDABLE = Call(prompt_ids=_WORDS, sampled_ids=_WORDS, logprobs=_WORDS)


def span(rollout: str = "r1", span_id: str | None = None, **fields: Any) -> Span:
    given_fields = {"kind": "event", "name": "step"} | fields
    return Span(rollout_id=rollout, attempt="a1", span_id=span_id or new_span_id(), **given_fields)


def sealer(spans: int = 4, size: int = 100_000, partitions: int | None = 4) -> Sealer:
    return Sealer("01PRODUCER", spans=spans, size=size, partitions=partitions)


def seal_all(of: Sealer, now: float = 0.0, *, everything: bool = True) -> list[SealedBatch]:
    batches = of.take(now, everything=everything)
    return [of.seal(batch, of.number(batch.spans)) for batch in batches]


def decode(batch: SealedBatch) -> dict[str, Any]:
    return CODEC.decode(TOPIC, frame(1, batch.body))


def test_a_batch_is_sealed_by_its_spans_its_bytes_or_its_age() -> None:
    by_count = sealer(spans=2)
    by_count.add(span(), 10, due=100.0)
    assert by_count.take(0.0) == []
    assert by_count.add(span(), 10, due=100.0)
    assert [len(batch.spans) for batch in by_count.take(0.0)] == [2]

    by_size = sealer(size=50)
    by_size.add(span(), 60, due=100.0)
    assert [len(batch.spans) for batch in by_size.take(0.0)] == [1]

    by_age = sealer()
    by_age.add(span(), 10, due=100.0)
    assert by_age.next_due() == 100.0
    assert by_age.take(99.9) == []
    assert [len(batch.spans) for batch in by_age.take(100.0)] == [1]
    assert by_age.next_due() is None


def test_a_durable_span_brings_the_sealing_forward() -> None:
    of = sealer()
    assert of.add(span(), 10, due=100.0)
    assert not of.add(span(), 10, due=100.0)
    assert of.add(span(), 10, due=5.0, ticket=Ticket())
    assert of.next_due() == 5.0


def test_who_waits_on_an_idle_partition_does_not_wait_for_company_on_a_busy_one_for_a_pause() -> (
    None
):
    of = Sealer("01PRODUCER", spans=4, size=100_000, partitions=1, durable_pause_s=0.5)
    of.add(span(), 10, due=7.0, ticket=Ticket())
    assert of.next_due() == 7.0
    [first] = of.take(7.0)

    of.add(span(), 10, due=7.1, ticket=Ticket())
    [awaited] = of.await_open([(span(), 10)], 7.2)
    assert of.next_due() == 7.5
    assert not of.take(7.4)
    [second] = of.take(7.5)

    assert (len(first.spans), len(second.spans)) == (1, 2)
    assert second.tickets[-1][1] is awaited

    of.add(span(), 10, due=9.0, ticket=Ticket())
    assert of.next_due() == 9.0


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.integers(0, 9).map(lambda i: ("add", f"rollout{i}")),
            st.just(("seal", "")),
        ),
        max_size=120,
    )
)
def test_numbers_have_no_gaps_and_spans_go_to_their_rollouts_partition(
    steps: list[tuple[str, str]],
) -> None:
    of = sealer(spans=3)
    emitted = 0
    sequences: dict[int, list[int]] = defaultdict(list)
    episode_batches: dict[str, list[int]] = defaultdict(list)
    spans = 0
    for what, rollout in [*steps, ("seal", "")]:
        if what == "add":
            of.add(span(rollout), 10, due=0.0)
            emitted += 1
            continue
        for batch in seal_all(of):
            record = decode(batch)
            sequences[batch.partition].append(record["sequence"])
            spans += record["n"]
            for episode in record["episodes"]:
                assert partition_of(episode["rollout_id"], 4) == batch.partition
                episode_batches[episode["rollout_id"]].append(episode["episode_batch"])
    assert spans == emitted
    for numbers in (*sequences.values(), *episode_batches.values()):
        assert numbers == list(range(len(numbers)))


def test_a_span_id_that_comes_twice_goes_into_the_next_batch() -> None:
    of = sealer()
    of.add(span(span_id="00000000000000aa"), 10, due=100.0)
    assert of.add(span(span_id="00000000000000aa"), 10, due=100.0)
    batches = seal_all(of)
    assert [batch.spans for batch in batches] == [1, 1]
    for batch in batches:
        read_span_batch(decode(batch))  # refuses a batch with a repeated id


def test_the_end_marker_names_the_batch_that_holds_it() -> None:
    of = sealer()
    of.add(span(), 10, due=0.0)
    seal_all(of)
    of.add(span(kind="attempt.end"), 10, due=0.0)
    (batch,) = seal_all(of)
    assert decode(batch)["ends"] == [{"row": 0, "last_episode_batch": 1}]


def test_a_dropped_span_leaves_a_hole_in_its_episode() -> None:
    of = sealer()
    of.add(span(), 10, due=0.0)
    seal_all(of)
    of.skip(span())
    of.add(span(), 10, due=0.0)
    (batch,) = seal_all(of)
    record = decode(batch)
    assert record["episodes"][0]["episode_batch"] == 2
    assert record["sequence"] == 1


def test_spans_wait_for_the_partition_count_in_their_order() -> None:
    of = sealer(partitions=None)
    first, second = span(), span()
    of.add(first, 10, due=0.0)
    of.add(second, 10, due=0.0)
    assert of.take(1.0, everything=True) == []
    assert of.waiting == 2
    of.place(4)
    (batch,) = of.take(1.0)
    assert batch.spans == [first, second]
    assert batch.partition == partition_of("r1", 4)


def test_one_span_that_cannot_be_encoded_does_not_take_the_others_along() -> None:
    of = sealer()
    bad = span(kind="call", call=UNSENDABLE)
    for each in (span("r1"), bad):
        of.add(each, 10, due=0.0)
    (batch,) = seal_all(of)
    assert batch.refused == [bad]
    assert decode(batch)["n"] == 1
    of.add(bad, 10, due=0.0)
    (nothing,) = seal_all(of)
    assert nothing.spans == 0
    of.add(span("r1"), 10, due=0.0)
    (after,) = seal_all(of)
    assert decode(after)["sequence"] == 1  # the batch of nothing used up no number


def test_what_a_batch_cannot_hold_is_replaced_and_marked() -> None:
    of = sealer()
    odd: Any = {"started_at": 2**70, "agent": 5, "output": "a\ud800b"}
    start = Start(group_id="g\udfff", group_size=10**30, deadline=cast(Any, None))
    of.add(span(**odd, start=start), 10, due=0.0)
    (batch,) = seal_all(of)
    sent = decode(batch)
    assert (batch.refused, batch.replaced) == ([], 1)
    assert sent["content"]["output"] == rb"a\ud800b"
    assert json.loads(sent["content"]["attributes"]) == {"headrace.replaced": 6}
    (first,) = sent["starts"]
    assert (first["group_id"], first["group_size"]) == (r"g\udfff", 2**31 - 1)


def test_ids_off_the_pattern_are_refused_before_they_can_spoil_a_batch() -> None:
    with pytest.raises(InvalidId, match="rollout_id"):
        sealer().add(span("no spaces please"), 10, due=0.0)
    with pytest.raises(InvalidId, match="span id"):
        check_span(span(span_id="xyz"))
    with pytest.raises(InvalidId, match="an id is a int"):
        check_span(span(rollout=cast(Any, 5)))
    with pytest.raises(ValueError, match="kind"):
        check_span(span(kind="unheard of"))
    with pytest.raises(ValueError, match="kind"):
        check_span(span(kind=["not even a word"]))
    with pytest.raises(ValueError, match="status"):
        check_span(span(status="fine"))


@pytest.mark.parametrize("size", [300, 2_000_000])
def test_attributes_that_are_too_long_stay_json_and_keep_what_is_short(size: int) -> None:
    given = {"error.type": "TimeoutError", "page": "ä" * size, "count": 3}
    shortened, was_cut = cut(span(attributes=json.dumps(given)), 200)
    assert was_cut
    kept = json.loads(shortened.attributes)
    assert kept.pop(CUT_BYTES) > size
    assert kept == {"error.type": "TimeoutError", "count": 3}
    assert len(shortened.attributes.encode()) <= 200


@pytest.mark.parametrize(
    "text", ["[" * 9_000, '"' + "x" * 500 + '"', "x" * 500, "[1, 2]" + " " * 300]
)
def test_of_attributes_that_are_no_object_only_their_length_is_kept(text: str) -> None:
    shortened, _ = cut(span(attributes=text), 200)
    assert json.loads(shortened.attributes) == {CUT_BYTES: len(text)}


def test_attributes_of_text_that_utf8_cannot_hold_are_cut_to_some_that_it_can() -> None:
    given = {"half": "\ud83d", "page": "x" * 500}
    shortened, was_cut = cut(span(attributes=json.dumps(given)), 200)
    assert was_cut
    shortened.attributes.encode()
    assert json.loads(shortened.attributes)["half"] == "\ud83d"


def test_of_attributes_too_deep_to_be_written_again_only_their_length_is_kept() -> None:
    def at(depth: int) -> str:
        return '{"a": ' + "[" * depth + "]" * depth + "}"

    for depth in range(900, 1000):  # some of these can be read, and not written
        text = at(depth)
        shortened, _ = cut(span(attributes=text), 200)
        assert json.loads(shortened.attributes) == {CUT_BYTES: len(text)}


def test_a_long_text_is_cut_between_characters() -> None:
    shortened, was_cut = cut(span(output="ä" * 400, input="short"), 201)
    assert was_cut
    assert shortened.output.endswith(CUT)
    assert len(shortened.output.encode()) <= 201
    assert shortened.input == "short"
    assert cut(span(output="x" * 201), 201)[1] is False
