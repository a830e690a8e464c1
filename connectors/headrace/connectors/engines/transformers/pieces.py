"""The bytes that tokens stand for."""

import json
import re
from functools import lru_cache
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\u2581"
"""How SentencePiece writes a space."""


class Pieces:
    """Bytes of each token of a vocabulary, special ones by their text."""

    def __init__(self, backend: Any) -> None:
        """backend: a `tokenizers.Tokenizer`."""
        described = json.loads(backend.to_str())
        self._size: int = backend.get_vocab_size(with_added_tokens=True)
        self._piece = backend.id_to_token
        added = described.get("added_tokens", ())
        self._added = {one["id"] for one in added}
        self._special = {one["id"] for one in added if one["special"]}
        self.is_byte_level: bool = "ByteLevel" in json.dumps(described.get("decoder"))
        """Whether the text is nothing but the UTF-8 of its tokens' bytes."""

    def said(self, token: int) -> bytes:
        """The bytes that a token adds to the text: none of special tokens."""
        return b"" if token in self._special else self.of(token) or b""

    def of(self, token: int) -> bytes | None:
        """The bytes of a token; None if there is no such token."""
        piece = self._piece(token) if 0 <= token < self._size else None
        if piece is None:
            return None
        if token in self._added:
            return str(piece).encode()
        if self.is_byte_level:
            table = _byte_of_character()
            return b"".join(table.get(character, character.encode()) for character in piece)
        if (byte := _BYTE.fullmatch(piece)) is not None:
            return bytes.fromhex(byte[1])
        return str(piece).replace(_SPACE, " ").encode()


@lru_cache(maxsize=1)
def _byte_of_character() -> dict[str, bytes]:
    """The characters with which byte-level BPE writes bytes (GPT-2's `bytes_to_unicode`)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
    table = {chr(byte): bytes([byte]) for byte in shown}
    hidden = [byte for byte in range(256) if byte not in set(shown)]
    table.update({chr(256 + n): bytes([byte]) for n, byte in enumerate(hidden)})
    return table
