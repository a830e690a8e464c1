"""A rule without a version has that of its code: changes count, other wording does not."""

import sys
import textwrap
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from headrace.schemas import Episode
from headrace.streams.reward import Rule, load_rule, reward

PLAIN = """
    from headrace.streams.reward import reward

    RIGHT = 1.0

    def half(value):
        return value / 2

    @reward
    def rule(episode):
        return half(RIGHT if episode.result == "4" else 0.0)
"""

Load = Callable[[str], Rule]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """`load(source)`: the rule of a module with this source, each time another file."""
    monkeypatch.syspath_prepend(str(tmp_path))
    count = iter(range(100))

    def loaded(source: str) -> Rule:
        name = f"rules_by_code_{next(count)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
        import_module(name)
        return load_rule(name)

    return loaded


def test_the_same_code_has_the_same_id_wherever_it_lies(load: Load) -> None:
    assert load(PLAIN).id == load(PLAIN).id


@pytest.mark.parametrize(
    ("what", "to"),
    [
        ('"4"', '"5"'),  # the rule
        ("value / 2", "value / 3"),  # a function that it calls
        ("RIGHT = 1.0", "RIGHT = 2.0"),  # a constant that it names
        ("@reward\n", "@reward(weights={'a': 2.0})\n"),
        ("@reward\n", "@reward(calls=lambda episode: [0.5 for _ in episode.calls])\n"),
    ],
)
def test_a_change_of_what_counts_changes_the_id(load: Load, what: str, to: str) -> None:
    assert what in PLAIN
    assert load(PLAIN).id != load(PLAIN.replace(what, to)).id


@pytest.mark.parametrize(
    ("what", "to"),
    [
        ("return value / 2", "return (value /  2)  # half of it"),
        ("def half(value):", 'def half(value):\n        """A half."""'),
        ("RIGHT = 1.0", "RIGHT = 1.0\n    OTHER = 3"),  # which the rule does not name
    ],
)
def test_comments_formatting_and_strangers_do_not_change_it(load: Load, what: str, to: str) -> None:
    assert what in PLAIN
    assert load(PLAIN).id == load(PLAIN.replace(what, to)).id


def test_a_version_that_is_given_stands_and_the_digest_tells_the_change(load: Load) -> None:
    given = PLAIN.replace("@reward\n", "@reward(version=3)\n")
    one, other = load(given), load(given.replace('"4"', '"5"'))
    assert one.id == other.id == "rule@3"
    assert one.digest != other.digest
    assert 'episode.result == "4"' in one.text


def test_what_a_rule_closes_over_counts() -> None:
    def rule_of(right: str) -> Rule:
        @reward
        def rule(episode: Episode) -> float:
            return float(episode.result == right)

        return rule

    assert rule_of("4").id == rule_of("4").id
    assert rule_of("4").id != rule_of("5").id


def test_code_without_source_is_told_apart_by_what_it_does() -> None:
    def rule_of(source: str) -> Rule:
        made: dict[str, Callable[[Episode], float]] = {}
        exec(source, made)
        return Rule(name="rule", function=made["rule"])

    one = rule_of("def rule(episode): return 1.0")
    assert one.id == rule_of("def rule(episode): return 1.0").id
    assert one.id != rule_of("def rule(episode): return 2.0").id
    assert one.text == ""
