"""A file of tasks: what is taken, and how errors in it are named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.privacy import Privacy, PrivacySettings
from headrace.connectors.tasks import BadDataset, TaskItem, read_items, redacted_items
from headrace.connectors.tasks.dataset import FIELD_BYTES

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, width=32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: "Infinity" not in json.dumps(value))


@given(st.lists(st.tuples(JSON, JSON), min_size=1, max_size=4))
def test_what_was_written_is_read(pairs: list[tuple[object, object]]) -> None:
    lines = [json.dumps({"input": given, "expected": wanted}) for given, wanted in pairs]
    assert read_items(lines, "f") == [TaskItem(input=i, expected=e) for i, e in pairs]


def test_expected_may_be_left_out_and_empty_lines_are_nothing() -> None:
    assert read_items(["\n", '{"input": {"a": 1}}\n', "  \n"], "f") == [TaskItem(input={"a": 1})]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("what is 2+3?", "no JSON: Expecting value at column 1"),
        ("[1]", "no object"),
        ('{"expected": 5}', "`input` is missing"),
        ('{"input": 1, "expcted": 5}', "unknown `expcted`: there are `input` and `expected`"),
        ('{"input": NaN}', "NaN is no JSON"),
        ('{"input": 1e999}', "`input` holds a number that is too large"),
        ('{"input": 1, "expected": "\\ud800"}', "`expected` holds half a surrogate pair"),
        (json.dumps({"input": "x" * FIELD_BYTES}), f"`input` has {FIELD_BYTES + 2} bytes"),
    ],
)
def test_a_line_that_is_amiss_is_named_with_its_fault(line: str, fault: str) -> None:
    with pytest.raises(BadDataset) as caught:
        read_items(['{"input": "good"}', "", line], "tasks.jsonl")
    assert str(caught.value).startswith(f"tasks.jsonl cannot be used:\nline 3: {fault}")


def test_many_faults_are_counted() -> None:
    with pytest.raises(BadDataset) as caught:
        read_items(["{}"] * 7, "f")
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()[1:]] == [
        *(f"line {number}" for number in range(1, 6)),
        "and 2 more",
    ]


def test_a_file_without_a_task_is_told() -> None:
    with pytest.raises(BadDataset, match="holds no task"):
        read_items(["", " "], "f")


def test_tasks_are_redacted_before_they_are_asked_for() -> None:
    items = [
        TaskItem(input={"to": "a@b.org", "n": [1, "x"]}, expected="a@b.org"),
        TaskItem(input=1),
    ]
    redacting = Privacy(PrivacySettings(redact=("email",)))
    assert redacted_items(items, redacting) == [
        TaskItem(input={"to": "[email]", "n": [1, "x"]}, expected="[email]"),
        TaskItem(input=1),
    ]
    original = PrivacySettings(redact=("email",), model_sees="original")
    assert redacted_items(items, Privacy(original)) == items
    assert redacted_items(items, Privacy(PrivacySettings())) == items
