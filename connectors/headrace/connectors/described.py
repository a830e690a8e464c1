"""Whatever an agent holds, as text: JSON where that can hold it, else what can be said of it.

Nothing in here raises because of a value, consumes one (a generator stays as it is), or grows
beyond a budget: a list that holds itself, a `__str__` that raises, a million of nested lists.
"""

import dataclasses
import json
import math
import numbers
import traceback
from collections.abc import Iterator
from typing import Any

REPLACED = "headrace.replaced"
"""Attribute of a span: how many of its values are replaced by what could be said of them."""

MOST = 2_000_000
"""Characters after which the rest of a value is left out; SdkConfig.text_bytes cuts before."""

_NODE = 16  # characters that a value counts at least: a quarter of a second is all it may take
_DEPTH = 32
# Below the least limit that Python may be given for the digits of an int's text, 640.
_INT_BITS = 2_000
_LABEL = 10_000
_ATTRIBUTES = 100_000  # however they are escaped, no text_bytes cuts them
_CONTAINERS = (dict, list, tuple, set, frozenset)


@dataclasses.dataclass(kw_only=True, slots=True, frozen=True)
class Described:
    """A value as text, and how many values in it were replaced."""

    text: str
    replaced: int = 0


def as_attributes(value: Any) -> str:
    """A value as a JSON object that itself says how many values in it were replaced."""
    return as_json(value, mark=True, most=_ATTRIBUTES).text


def as_json(value: Any, *, mark: bool = False, most: int = MOST) -> Described:
    """A value as JSON. `mark`: say in the JSON itself, an object, how many were replaced."""
    try:
        writer = _Writer(most)
        plain = writer.plain(value)
        if mark and writer.replaced:
            plain = plain if isinstance(plain, dict) else {"value": plain}
            plain[REPLACED] = writer.replaced
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
        sound = legible(text)
    except Exception:  # hardly any stack is left, or memory
        return Described(text='"<a value that cannot be told>"', replaced=1)
    return Described(text=sound, replaced=writer.replaced + (sound is not text))


def as_text(value: Any) -> Described:
    """A value as text: a string as it is, nothing for None, else JSON."""
    if type(value) is Described:
        return value
    if value is None:
        return Described(text="")
    if not issubclass(type(value), str):
        return as_json(value)
    plain = str.__str__(value)
    sound = legible(plain)
    return Described(text=sound, replaced=int(sound is not plain))


def as_name(value: Any) -> str:
    """A value as a name: a string as it is, nothing for None, else what its `str` says."""
    if value is None:
        return ""
    try:
        return legible(str.__str__(value) if issubclass(type(value), str) else _label(value))
    except Exception:  # hardly any stack is left
        return "?"


def as_number(value: Any) -> tuple[float, Described]:
    """A reward's value; NaN where it is none, and then what can be said of it."""
    try:
        return float(value), Described(text="")
    except KeyboardInterrupt:
        raise
    except BaseException:  # its `__float__` may raise anything
        return math.nan, Described(text=as_json({"value": as_name(value)}).text, replaced=1)


def marked(attributes: Any, replaced: int) -> str:
    """The attributes of a span with the mark that `replaced` values are not what they were."""
    described = as_text(attributes)
    replaced += described.replaced
    if not replaced:
        return described.text
    try:
        known = json.loads(described.text or "{}")
    except (ValueError, RecursionError):
        known = described.text
    holder = known if isinstance(known, dict) else {"attributes": known}
    before = holder.get(REPLACED)
    if isinstance(before, int):
        replaced += before
    return as_json(holder | {REPLACED: replaced}).text


def error_facts(error: BaseException) -> tuple[str, str, str]:
    """Type, message and traceback of an exception, whatever its own methods do."""
    try:
        trace = "".join(traceback.format_exception(error))
    except KeyboardInterrupt:
        raise
    except BaseException:  # it has a `__cause__` or a `__notes__` of its own making
        trace = ""
    return type_name(error), as_name(error), legible(trace)


def type_name(value: Any) -> str:
    """The name of a value's type, whatever its metaclass does."""
    try:
        return legible(str.__str__(type.__dict__["__name__"].__get__(type(value))))
    except Exception:  # hardly any stack is left
        return "object"


def legible(text: str) -> str:
    """The text with half surrogate pairs, which no UTF-8 can hold, as their escapes."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text


class _Writer:
    """Turns a value into dictionaries, lists, strings, numbers, booleans and None."""

    def __init__(self, most: int) -> None:
        self.replaced = 0
        self._left = most
        self._inside: set[int] = set()

    def plain(self, value: Any) -> Any:
        kind = type(value)
        self._left -= _NODE
        if self._left < 0:
            return self._instead("…[cut]")
        if value is None or kind is bool:
            return value
        try:
            if issubclass(kind, str):
                return self._text(str.__str__(value))
            if issubclass(kind, int):
                return self._int(int.__add__(value, 0))
            if issubclass(kind, float):
                return self._float(float.__add__(value, 0.0))
            if issubclass(kind, _CONTAINERS):
                return self._inner(value, kind)
            return self._other(value, kind)
        except KeyboardInterrupt:  # somebody's Ctrl-C
            raise
        except BaseException:  # its class, or another thread that changes it, is against us
            return self._instead(f"<{type_name(value)}>")

    def _inner(self, value: Any, kind: type) -> Any:
        if id(value) in self._inside:
            return self._instead(f"<{type_name(value)} that holds itself>")
        if len(self._inside) >= _DEPTH:
            return self._instead(f"<{type_name(value)}, nested too deeply>")
        self._inside.add(id(value))
        try:
            if issubclass(kind, dict):
                return self._object(dict.items(value))
            base = next(base for base in _CONTAINERS[1:] if issubclass(kind, base))
            self.replaced += base in (set, frozenset)
            return list(self._items(base.__iter__(value)))
        finally:
            self._inside.discard(id(value))

    def _items(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            yield self.plain(item)
            if self._left < 0:
                return

    def _object(self, items: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in list(items):
            name = self._key(key)
            if name in found:
                self.replaced += 1
                name = f"{name}#{len(found)}"
            found[name] = self.plain(value)
            if self._left < 0:
                break
        return found

    def _key(self, key: Any) -> str:
        if issubclass(type(key), str):
            text = str.__str__(key)
            self._left -= len(text)
            return text[:_LABEL]
        if key is None or type(key) is bool:
            return json.dumps(key)
        if type(key) in (int, float):
            number = self.plain(key)
            return number if isinstance(number, str) else json.dumps(number)
        return str(self._instead(_label(key)))

    def _text(self, value: str) -> str:
        left, self._left = max(0, self._left), self._left - len(value)
        return value if len(value) <= left else self._instead(value[:left] + "…[cut]")

    def _int(self, value: int) -> Any:
        if value.bit_length() > _INT_BITS:
            digits = int(value.bit_length() * math.log10(2)) + 1
            return self._instead(f"<int of about {digits} digits>")
        return value

    def _float(self, value: float) -> Any:
        if math.isfinite(value):
            return value
        words = {math.inf: "Infinity", -math.inf: "-Infinity"}
        return self._instead(words.get(value, "NaN"))

    def _other(self, value: Any, kind: type) -> Any:
        if issubclass(kind, bytes | bytearray):
            return self._instead(_bytes_label(bytes(value[:_LABEL]), len(value)))
        if dataclasses.is_dataclass(kind):
            return self._dataclass(value)
        if issubclass(kind, numbers.Integral):  # numpy's, for example
            return self._int(int(value))
        if issubclass(kind, numbers.Real) and not issubclass(kind, numbers.Rational):
            return self._float(float(value))
        return self._instead(_label(value))

    def _dataclass(self, value: Any) -> Any:
        if id(value) in self._inside or len(self._inside) >= _DEPTH:
            return self._instead(f"<{type_name(value)}, nested too deeply>")
        self._inside.add(id(value))
        try:
            self.replaced += 1
            names = [field.name for field in dataclasses.fields(value)]
            return self._object([(name, _attribute(value, name)) for name in names])
        finally:
            self._inside.discard(id(value))

    def _instead(self, text: str) -> str:
        self.replaced += 1
        self._left -= len(text)
        return text


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # deleted, or a property that raises
        return f"<no {name}: {type_name(error)}>"


def _bytes_label(value: bytes, length: int) -> str:
    try:
        return value.decode() if length <= _LABEL else f"<{length} bytes>"
    except UnicodeDecodeError:
        return f"<{length} bytes: {value[:32].hex()}{'…' if length > 32 else ''}>"


def _label(value: Any) -> str:
    """What its `str` says of a value, or that it says nothing."""
    try:
        if issubclass(type(value), _CONTAINERS):  # whose `str` knows no end
            return as_json(value, most=_LABEL).text
        text = str.__str__(str(value))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # agents' classes raise whatever they like
        return f"<{type_name(value)}, whose str raised {type_name(error)}>"
    return text if len(text) <= _LABEL else text[:_LABEL] + "…[cut]"
