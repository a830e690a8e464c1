"""The bytes of a token: joined they are the text, whatever a tokenizer makes of it."""

from __future__ import annotations

import json
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from headrace.connectors.engines.token_bytes import token_bytes

LINES = [
    "What is 12 plus 7?",
    "héllo wörld 🦦🦦",
    "<calc>12 + 7</calc>",
    "日本語 日本",
    "👩‍👩‍👧 é",
] * 8
SPECIAL = ["<|im_start|>", "<|im_end|>"]


@cache
def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer


@cache
def sentence_piece() -> Tokenizer:
    """Llama's first form: spaces are written, and unknown characters fall back to bytes."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = {
        token: number for number, token in enumerate(["<unk>", *byte_tokens, "▁", "a", "b"])
    }
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


@pytest.mark.parametrize("made", [byte_level, sentence_piece])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁")))
def test_the_bytes_of_the_tokens_joined_are_the_text(made: object, text: str) -> None:
    tokenizer = made()  # type: ignore[operator]
    found = token_bytes(json.loads(tokenizer.to_str()))
    encoded = tokenizer.encode(text, add_special_tokens=False)
    assert b"".join(found[number] for number in encoded.ids) == text.encode()


def test_an_emoji_may_be_several_tokens_none_of_which_is_text() -> None:
    tokenizer = byte_level()
    found = token_bytes(json.loads(tokenizer.to_str()))
    ids = tokenizer.encode("🐙").ids
    assert len(ids) > 1
    with pytest.raises(UnicodeDecodeError):
        found[ids[0]].decode()
    assert b"".join(found[number] for number in ids).decode() == "🐙"


def test_a_special_token_is_as_it_is_written() -> None:
    tokenizer = byte_level()
    found = token_bytes(json.loads(tokenizer.to_str()))
    assert found[tokenizer.token_to_id("<|im_end|>") or 0] == b"<|im_end|>"
    assert len(found) == tokenizer.get_vocab_size()


def test_a_tokenizer_that_joins_otherwise_is_named() -> None:
    with pytest.raises(ValueError, match="WordPiece"):
        token_bytes({"decoder": {"type": "WordPiece"}, "model": {"vocab": {}}})
