"""Values of tables: their look and where they lead."""

from headrace.infra.console.cells import MISSING, cell

ROW = {
    "project": "default", "rollout_id": "r/1", "attempt": "a b", "advantage": -0.5, "policy": "p",
    "version": 3, "group_id": "g", "state": "dropped", "reward": None, "samples": 1234,
}  # fmt: skip


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
