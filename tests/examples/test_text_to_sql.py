"""The text-to-SQL example: its databases, its questions and its rule."""

import itertools
import json
import sqlite3

import pytest

from examples.text_to_sql.databases import HELD_OUT, MOST_ROWS, TABLES, TRAINED, equal, rows_of
from examples.text_to_sql.rewards import text_to_sql
from examples.text_to_sql.tasks import heldout, train
from headrace.connectors.tasks import TaskItem
from headrace.schemas import Episode


def closed(result: object, expected: object, status: str = "ok") -> Episode:
    return Episode(status=status, result=json.dumps(result), expected=json.dumps(expected))


def test_held_out_questions_are_fixed_and_on_schemas_that_are_never_trained() -> None:
    questions = heldout(64)
    assert questions == heldout(128)[:64]
    assert [item.input["seed"] for item in questions[:3]] == [0, 1, 2]
    assert {item.input["table"] for item in questions} == {table.name for table in HELD_OUT}
    trained = {item.input["table"] for item in itertools.islice(train(), 500)}
    assert trained == {table.name for table in TRAINED}
    with pytest.raises(ValueError, match="256"):
        heldout(257)


def test_draws_depend_on_the_seed_alone() -> None:
    def first(seed: int) -> list[TaskItem]:
        return list(itertools.islice(train(seed), 50))

    assert first(1) == first(1) != first(2)


def test_every_question_has_an_answer_from_its_database() -> None:
    for item in [*itertools.islice(train(), 300), *heldout(256)]:
        assert item.expected is not None
        assert all(len(row) == 1 for row in item.expected)


@pytest.mark.parametrize("name", TABLES)
def test_a_database_is_always_the_same_and_cannot_be_written(name: str) -> None:
    assert rows_of(name, f"SELECT * FROM {name}") == rows_of(name, f"SELECT * FROM {name}")
    for change in (
        f"DELETE FROM {name}",
        f"DROP TABLE {name}",
        "CREATE TABLE other (x)",
        "ATTACH DATABASE 'file.db' AS other",
        "PRAGMA query_only = OFF",
    ):
        with pytest.raises(sqlite3.Error):
            rows_of(name, change)


def test_an_endless_query_is_not_read_to_its_end() -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
    assert len(rows_of("river", endless)) == MOST_ROWS


def test_a_query_that_would_compute_for_ever_is_stopped() -> None:
    busy = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        rows_of("river", busy)


@pytest.mark.parametrize(
    ("rows", "right"),
    [
        ([["A"], ["B"]], 1.0),
        ([["B"], ["A"]], 1.0),
        ([["A"]], 0.0),
        ([["A"], ["A"], ["B"]], 0.0),
        ([], 0.0),
        (None, 0.0),
    ],
)
def test_the_reward_is_for_the_expected_rows_in_any_order(
    rows: list[list[str]] | None, right: float
) -> None:
    assert text_to_sql(closed({"queries": ["…"], "rows": rows}, [["A"], ["B"]])) == right


def test_a_run_that_crashed_has_no_reward() -> None:
    assert text_to_sql(closed(None, [["A"]], status="error")) == 0.0


def test_rows_are_equal_by_value_and_type() -> None:
    assert equal([[1], [2]], [[2], [1]])
    assert not equal([[1]], [["1"]])
