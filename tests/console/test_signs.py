"""Texts as the console draws them."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from headrace.infra.terminal.signs import signs


def test_what_a_browser_hides_or_obeys_is_drawn() -> None:
    assert signs("a\x1b[31mb") == "a␛[31mb"
    assert signs("pay \u202eevil") == "pay ⟨U+202E⟩evil"
    assert signs("ze\u200bro\x00\x7f\ud800") == "ze⟨U+200B⟩ro␀␡⟨U+D800⟩"


def test_ordinary_texts_stay_as_they_are() -> None:
    text = "Grüße, 你好 👋\n\tand so on"
    assert signs(text) == text


@given(st.text())
def test_nothing_unseen_is_left_but_line_ends_and_tabs(text: str) -> None:
    left = {unicodedata.category(each)[0] for each in signs(text) if each not in "\n\t"}
    assert "C" not in left
