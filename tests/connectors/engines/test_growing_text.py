"""Text that grows token by token is the text that is decoded whole."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from headrace.connectors.engines.transformers.growing import GrowingText, WindowDecoder
from headrace.connectors.engines.transformers.pieces import Pieces
from headrace.connectors.engines.transformers.text import Text

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def text(tiny: Path) -> Text:
    return Text(tiny)


def grown(growing: GrowingText, tokens: list[int], whole: str) -> list[str]:
    said = [growing.grow(token) for token in tokens]
    return [*said, whole[growing.told :]]


@SHARED
@given(tokens=st.lists(st.integers(0, 287), max_size=40))
def test_any_tokens_say_what_they_say_together(text: Text, tokens: list[int]) -> None:
    whole = text.decode(tokens)
    assert "".join(grown(text.growing(()), tokens, whole)) == whole


@SHARED
@given(said=st.text(max_size=20), stop=st.text(min_size=1, max_size=4))
def test_what_may_begin_a_stop_string_is_held_back(text: Text, said: str, stop: str) -> None:
    growing, told = text.growing((stop,)), ""
    tokens: list[int] = []
    for token in text.encode(said + stop):
        tokens.append(token)
        if stop in text.decode(tokens):
            break
        told += growing.grow(token)
    assert (said + stop).startswith(told)
    assert len(told) <= (said + stop).find(stop)


def sentencepiece() -> Tokenizer:
    """A vocabulary in the manner of SentencePiece, bytes for what it lacks."""
    pieces = ["<unk>", "\u2581", "\u2581a", "b", "c", *(f"<0x{n:02X}>" for n in range(256))]
    tokenizer = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=[]))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def test_bytes_for_what_a_vocabulary_lacks_are_joined_to_characters() -> None:
    tokenizer: Any = sentencepiece()
    tokens = [2, 3, *(5 + byte for byte in "é🙂".encode()), 1, 4]
    whole = tokenizer.decode(tokens, skip_special_tokens=True)
    growing = GrowingText(WindowDecoder(tokenizer.decode), ())
    said = grown(growing, tokens, whole)
    assert "".join(said) == whole == " abé🙂 c"
    assert "\ufffd" not in "".join(said)
    pieces = Pieces(tokenizer)
    assert b"".join(pieces.of(token) or b"" for token in tokens).decode() == whole
