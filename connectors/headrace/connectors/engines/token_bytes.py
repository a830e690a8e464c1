"""The bytes that each token of a tokenizer stands for, read from its `tokenizer.json`.

Joined, the bytes of sampled tokens are the sampled text; one alone may be a part of a character.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\u2581"  # how SentencePiece writes a space
Tokenizer = Mapping[str, Any]


def token_bytes(tokenizer: Tokenizer) -> dict[int, bytes]:
    """Token id -> bytes, special tokens as they are written.

    Raises:
        ValueError: tokens are joined in another way than byte-level or SentencePiece ones are.
    """
    decoders = {str(one.get("type")) for one in _parts(tokenizer.get("decoder") or {})}
    if "ByteLevel" in decoders:
        bytes_of = _of_byte_level
    elif decoders & {"Metaspace", "ByteFallback"}:
        bytes_of = _of_sentence_piece
    else:
        told = ", ".join(sorted(decoders)) or "no decoder"
        raise ValueError(f"tokens of a tokenizer with {told} have no bytes of their own")
    found = {number: bytes_of(token) for token, number in _vocabulary(tokenizer)}
    for added in tokenizer.get("added_tokens") or []:
        found[int(added["id"])] = str(added["content"]).encode()
    return found


def _parts(decoder: Tokenizer) -> Iterator[Tokenizer]:
    yield decoder
    for one in decoder.get("decoders") or []:
        yield from _parts(one)


def _vocabulary(tokenizer: Tokenizer) -> Iterator[tuple[str, int]]:
    entries = tokenizer["model"]["vocab"]
    if isinstance(entries, Mapping):
        yield from ((str(token), int(number)) for token, number in entries.items())
    else:  # of Unigram: pairs of a token and its score
        yield from ((str(token), number) for number, (token, _) in enumerate(entries))


def _of_sentence_piece(token: str) -> bytes:
    if byte := _BYTE.fullmatch(token):
        return bytes([int(byte[1], 16)])
    return token.replace(_SPACE, " ").encode()


def _byte_level_alphabet() -> dict[str, int]:
    """GPT-2's: printable bytes stand for themselves, the others for characters from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


_ALPHABET = _byte_level_alphabet()


def _of_byte_level(token: str) -> bytes:
    if all(character in _ALPHABET for character in token):
        return bytes(_ALPHABET[character] for character in token)
    return token.encode()  # one that was added by hand
