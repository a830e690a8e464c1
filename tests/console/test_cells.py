"""Values of tables: their look and where they lead."""

from datetime import UTC, datetime
from importlib.resources import files

import pytest

from headrace.infra.console.cells import BAD, BETTER, GOOD, MISSING, WORSE, cell, versions
from headrace.infra.supervise import State
from headrace.schemas.vocabulary import (
    GroupOutcome,
    HaltState,
    MemberStatus,
    RolloutState,
    RowState,
    SampleOutcome,
    SpanStatus,
)

ROW = {
    "project": "default", "rollout_id": "r/1", "attempt": "a b", "advantage": -0.5, "policy": "p",
    "version": 3, "group_id": "g", "state": "dropped", "reward": None, "samples": 1234,
}  # fmt: skip


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [(-1, -1, MISSING), (0, -1, MISSING), (-1, 2, "2"), (2, 2, "2"), (0, 2, f"0{MISSING}2")],
)
def test_versions_are_told_as_a_range_and_none_as_missing(first: int, last: int, said: str) -> None:
    assert versions({"version_min": first, "version_max": last}) == said


def test_no_version_is_told_as_missing() -> None:
    assert [cell("version", {**ROW, "version": one}).text for one in (-1, 0)] == [MISSING, "0"]


def test_ids_lead_to_their_pages_however_they_are_spelt() -> None:
    assert cell("rollout_id", ROW).href == "/episodes/default/r%2F1/a%20b"
    assert cell("group_id", ROW).href == "/groups/default/g"
    assert cell("version", ROW).href == "/policies/p/3"


def test_a_sign_and_a_word_tell_what_a_colour_tells() -> None:
    assert cell("advantage", ROW).text == "-0.500"
    assert cell("advantage", {"advantage": 0.25}).text == "+0.250"
    assert (cell("state", ROW).text, cell("state", ROW).look) == ("dropped", "chip bad")


def test_numbers_are_grouped_and_what_is_not_there_is_a_dash() -> None:
    assert cell("samples", ROW).text == "1,234"
    assert cell("reward", ROW).text == MISSING


def test_words_with_a_colour_are_words_that_are_said() -> None:
    said = {
        *GroupOutcome, *HaltState, *MemberStatus, *RolloutState, *RowState, *SampleOutcome,
        *SpanStatus, *State, BETTER, WORSE,
    }  # fmt: skip
    assert said >= GOOD | BAD
    assert not GOOD & BAD
    for verdict in (BETTER, WORSE):
        sql = files("headrace.infra.console").joinpath("queries", "compared.sql").read_text()
        assert f"'{verdict}'" in sql


@pytest.mark.parametrize("name", ["newest", "created", "closes_at", "logged_at"])
def test_times_are_cut_at_the_second(name: str) -> None:
    shown = cell(name, {name: "2026-11-18 03:04:05.678"})
    assert (shown.text, shown.look) == ("2026-11-18 03:04:05", "time")


def test_a_time_is_one_under_any_name() -> None:
    shown = cell("x", {"x": datetime(2026, 11, 18, 3, 4, 5, 678, tzinfo=UTC)})
    assert (shown.text, shown.look) == ("2026-11-18 03:04:05", "time")


@pytest.mark.parametrize("name", ["offset", "first_offset", "version", "log_time", "started_at"])
def test_places_and_times_in_numbers_are_not_grouped(name: str) -> None:
    assert cell(name, {name: 1_795_000_000_000}).text == "1795000000000"


def test_a_small_number_is_not_zero() -> None:
    assert cell("loss", {"loss": 2e-6}).text == "2e-06"
    assert cell("advantage", {"advantage": -2e-6}).text == "-2e-06"
    assert cell("loss", {"loss": 0.0}).text == "0.000"
