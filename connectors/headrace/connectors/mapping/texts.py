"""Texts and numbers of a span, whatever an instrumentation put there. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from headrace.connectors.described import as_json, as_name, as_text, legible

_SHORT = 1024  # names are columns of few different values
_INT64 = (1 << 63) - 1
_ATTRIBUTES = 100_000  # characters; no SdkConfig.text_bytes cuts them
_FEW = 100
_PLAIN = frozenset({str, int, bool, float})
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def short(value: Any) -> str:
    """A value as a name of up to 1,024 characters."""
    if type(value) is str and len(value) <= _SHORT and value.isascii():
        return value
    return as_name(value)[:_SHORT]


def text(value: Any) -> str:
    """A value as text: a string as it is, nothing for None, else JSON; bounded."""
    if type(value) is str and value.isascii():
        return value
    return as_text(value).text


def attributes(values: Mapping[str, Any]) -> str:
    """Attributes as a JSON object; bounded, and it says itself what was replaced."""
    if not values:
        return ""
    if len(values) <= _FEW and all(type(value) in _PLAIN for value in values.values()):
        # As they nearly always are: a quarter of the time of looking at each.
        try:
            told = _encode(values)
            if len(told) <= _ATTRIBUTES:
                return legible(told)
        except (ValueError, TypeError):  # not a number, or a key that is no string
            pass
    return as_json(
        values if type(values) is dict else dict(values), mark=True, most=_ATTRIBUTES
    ).text


def moment(value: Any) -> int:
    """Nanoseconds since the epoch that fit a column; 0 for what is no time."""
    return min(max(value, 0), _INT64) if isinstance(value, int) else 0


def trimmed(name: str, prefixes: tuple[str, ...], suffixes: tuple[str, ...]) -> str:
    """A span's name without what its instrumentation put around it."""
    for prefix in prefixes:
        name = name.removeprefix(prefix)
    for suffix in suffixes:
        if name.endswith(suffix) and name != suffix:
            return name.removesuffix(suffix)
    return name
