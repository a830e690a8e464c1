"""Texts as signs: what a browser would not show, or would obey, is drawn."""

import unicodedata

_KEPT = frozenset("\n\t")
_DELETE = 0x7F


def signs(text: object) -> str:
    """The text with its control, format (bidi, zero-width) and unassigned characters visible.

    Controls of ASCII become their pictures (U+2400 and on), others `⟨U+202E⟩`. Line ends and
    tabs stay. Not HTML: the templates escape it.
    """
    return "".join(map(_sign, "" if text is None else str(text)))


def _sign(character: str) -> str:
    if character in _KEPT or not unicodedata.category(character).startswith(("C", "Zl", "Zp")):
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == _DELETE:
        return "\u2421"
    return f"⟨U+{code:04X}⟩"
