"""The text of a completion grows as the whole of it reads, whatever its tokens are."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.connectors.engines import SamplingParameters
from headrace.connectors.engines.completion import CompletionText, Ending, StopScanner
from headrace.connectors.engines.vocabulary import Vocabulary

BYTES = tuple(bytes([byte]) for byte in range(256))
END, SPECIAL, EMOJI, HALVES = 256, 257, 258, 259
VOCABULARY = Vocabulary(
    pieces=(*BYTES, b"<end>", b"<special>", "😀é".encode(), "é".encode()[1:] + "😀".encode()[:2]),
    hidden=frozenset({END, SPECIAL}),
    end_ids=frozenset({END}),
)
# Few bytes, so that characters come whole, cut and broken, and stop strings come at all.
TOKENS = st.lists(
    st.sampled_from([*"é😀".encode(), 0xFF, 0x61, 0x62, SPECIAL, EMOJI, HALVES]), max_size=24
)
STOPS = st.lists(st.text(st.sampled_from("abé😀"), min_size=1, max_size=4), max_size=3)


def run(tokens: list[int], sampling: SamplingParameters) -> tuple[list[str], Ending | None, str]:
    completion = CompletionText(VOCABULARY, sampling)
    texts: list[str] = []
    ending = None
    for token in tokens:
        text, ending = completion.add(token)
        texts.append(text)
        if ending is not None:
            break
    return texts, ending, completion.text


def read(tokens: list[int]) -> str:
    return b"".join(VOCABULARY.shown(token) for token in tokens).decode(errors="replace")


@given(TOKENS)
@example([0x9F, 0x98, 0x98, 0xC3, 0x98])
@example([0xF0, 0x9F, SPECIAL, 0x98, 0x80])
def test_the_pieces_of_text_are_the_text(tokens: list[int]) -> None:
    texts, ending, text = run([*tokens, END], SamplingParameters(max_tokens=100))
    assert ending == Ending("stop", None, True)
    assert "".join(texts) == text == read(tokens)


@given(TOKENS, STOPS, st.booleans(), st.integers(1, 30), st.booleans())
def test_text_ends_where_the_first_stop_string_is_complete(
    tokens: list[int], stops: list[str], include: bool, most: int, ends: bool
) -> None:
    sampling = SamplingParameters(stop=tuple(stops), include_stop=include, max_tokens=most)
    given_tokens = [*tokens, END] if ends else tokens
    texts, ending, text = run(given_tokens, sampling)
    told = "".join(texts)
    taken = len(texts)
    assert text == told
    # What an onlooker finds who reads the whole text again after every token.
    for count in range(1, taken + 1):
        whole = read(given_tokens[:count])
        found = [(whole.find(stop), stop) for stop in stops if stop in whole]
        if found:
            at, stop = min(found)
            assert count == taken
            assert ending is not None
            assert (ending.stop, ending.finish_reason) == (stop, "stop")
            kept = at + len(stop) if include else at
            assert text == whole[:kept]
            assert ending.stop_token_included == (kept < len(whole))
            return
    assert ending is None or ending.stop is None
    if ending is not None:
        assert text == read(given_tokens[:taken])
        assert ending.finish_reason == ("stop" if given_tokens[taken - 1] == END else "length")
    else:
        assert taken == len(given_tokens) < most


@given(TOKENS, STOPS)
def test_what_was_told_is_never_taken_back(tokens: list[int], stops: list[str]) -> None:
    texts, _, _ = run(tokens, SamplingParameters(stop=tuple(stops), max_tokens=100))
    told = "".join(texts)
    assert read(tokens).startswith(told)
    assert not any(stop in told for stop in stops)


@given(st.lists(st.text("ab", max_size=3), max_size=12), st.text("ab", min_size=1, max_size=4))
def test_only_what_may_begin_a_stop_string_is_held_back(pieces: list[str], stop: str) -> None:
    scanner = StopScanner((stop,), include=False)
    told = ""
    for i in range(len(pieces)):
        told += scanner.add(pieces[i])
        text = "".join(pieces[: i + 1])
        if stop in text:
            assert told == text[: text.index(stop)]
            return
        held = next(k for k in range(len(stop) - 1, -1, -1) if text.endswith(stop[:k]))
        assert told == text[: len(text) - held]
    assert told + scanner.rest() == "".join(pieces)


def test_a_constraint_that_is_complete_ends_the_text() -> None:
    completion = CompletionText(VOCABULARY, SamplingParameters(max_tokens=9, stop=("bc",)))
    assert completion.add(ord("a")) == ("a", None)
    assert completion.add(ord("b"), is_complete=True) == ("b", Ending("stop", None, False))


@pytest.mark.parametrize(("strips", "text"), [(True, " a"), (False, "  a")])
def test_sentence_pieces_space_at_the_beginning_is_not_shown(strips: bool, text: str) -> None:
    vocabulary = Vocabulary(
        pieces=(b" ", b" a"), hidden=frozenset(), end_ids=frozenset(), strips_space=strips
    )
    completion = CompletionText(vocabulary, SamplingParameters(max_tokens=2))
    assert completion.add(0)[0] + completion.add(1)[0] == text
