"""What a model's tokens stand for, byte by byte. Imports no tokenizer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.connectors.engines.errors import InvalidRequest, InvalidWeights


@dataclass(kw_only=True, slots=True, frozen=True)
class Vocabulary:
    """The bytes of each token, and which tokens text does not show."""

    pieces: tuple[bytes, ...]
    """By token id. Ids without a meaning (rows that fill up the embedding) have none."""
    hidden: frozenset[int]
    """Special tokens: they have bytes, but a completion's text leaves them out."""
    end_ids: frozenset[int]
    """Tokens that end a completion."""
    strips_space: bool = False
    """Whether text drops a space at its very beginning (SentencePiece puts one there)."""

    def __len__(self) -> int:
        return len(self.pieces)

    def bytes_of(self, token_ids: Sequence[int]) -> tuple[bytes, ...]:
        """The bytes of each token, those of special tokens included.

        Raises:
            InvalidRequest: an id is outside the vocabulary.
        """
        if token_ids and not 0 <= min(token_ids) <= max(token_ids) < len(self.pieces):
            raise InvalidRequest(
                f"The token ids go beyond 0 .. {len(self.pieces) - 1}: they are another model's."
            )
        return tuple(self.pieces[token] for token in token_ids)

    def shown(self, token: int) -> bytes:
        """What a token adds to a completion's text."""
        return b"" if token in self.hidden else self.pieces[token]


def read_vocabulary(
    tokenizer: Mapping[str, Any], *, size: int = 0, end_ids: frozenset[int] = frozenset()
) -> Vocabulary:
    """Read a vocabulary out of what a `tokenizer.json` holds.

    Args:
        tokenizer: the file's fields; of them `model.vocab`, `added_tokens` and `decoder` are read.
        size: rows of the model's embedding; the vocabulary is at least as long.
        end_ids: tokens that end a completion.

    Raises:
        InvalidWeights: the tokens are neither byte-level nor SentencePiece's.
    """
    steps = _steps(tokenizer.get("decoder"))
    kinds = {str(step.get("type")) for step in steps}
    if "ByteLevel" in kinds:
        to_bytes = _byte_level
    elif kinds & {"ByteFallback", "Metaspace"}:
        to_bytes = _sentence_piece
    else:
        raise InvalidWeights(
            f"The tokenizer's decoder is {sorted(kinds) or 'missing'}: only tokens of byte-level "
            "and SentencePiece tokenizers have bytes of their own."
        )
    found = {token: to_bytes(name) for name, token in _names(tokenizer["model"]["vocab"])}
    added = tokenizer.get("added_tokens") or []
    found |= {int(one["id"]): str(one["content"]).encode() for one in added}
    return Vocabulary(
        pieces=tuple(
            found.get(token, b"") for token in range(max([size, *(i + 1 for i in found)]))
        ),
        hidden=frozenset(int(one["id"]) for one in added if one["special"]),
        end_ids=end_ids,
        strips_space=any(_strips(step) for step in steps),
    )


def _names(entries: Mapping[str, int] | Sequence[Sequence[Any]]) -> Iterator[tuple[str, int]]:
    if isinstance(entries, Mapping):
        yield from entries.items()
    else:  # of Unigram: pairs of a name and its score
        yield from ((str(name), token) for token, (name, _) in enumerate(entries))


def _steps(decoder: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    if decoder is None:
        return []
    if decoder.get("type") == "Sequence":
        return [inner for step in decoder["decoders"] for inner in _steps(step)]
    return [decoder]


def _strips(step: Mapping[str, Any]) -> bool:
    if step.get("type") == "Metaspace":
        return step.get("prepend_scheme") != "never"
    return step.get("type") == "Strip" and step.get("content") == " " and step.get("start") == 1


def _byte_of_character() -> dict[str, int]:
    """GPT-2's names of bytes: printable ones are themselves, the others count up from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + i): byte for i, byte in enumerate(others)
    }


_BYTES = _byte_of_character()


def _byte_level(name: str) -> bytes:
    try:
        return bytes([_BYTES[character] for character in name])
    except KeyError:
        return name.encode()  # no name of bytes: it stands for itself


def _sentence_piece(name: str) -> bytes:
    if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
        try:
            return bytes([int(name[3:5], 16)])
        except ValueError:
            pass
    return name.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").encode()
