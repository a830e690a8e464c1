"""What is inside a call: JSON or Python, read without trust. Pure."""

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headrace.connectors.gateway.tools.formats import ToolFormat

_SPACE = " \t\r\n"
_BETWEEN = _SPACE + ";,"
_KEYS = ("arguments", "parameters")


class Malformed(ValueError):
    """What should be a call is none; the message says why."""


@dataclass(kw_only=True, slots=True, frozen=True)
class RawCall:
    """A call as the model wrote it, without an id."""

    name: str
    arguments: str
    """JSON of an object."""


def read_calls(text: str, form: ToolFormat) -> list[RawCall]:
    """The calls that a text consists of; raises Malformed."""
    try:
        calls = _read(text, form)
        for call in calls:
            f"{call.name}{call.arguments}".encode()  # half of a surrogate pair has no UTF-8
    except (ValueError, RecursionError, MemoryError) as error:
        raise Malformed(str(error) or type(error).__name__) from error
    if not calls:
        raise Malformed("it is empty")
    return calls


def _read(text: str, form: ToolFormat) -> list[RawCall]:
    if form.body == "python":
        return _python(text)
    is_json = text.lstrip(_SPACE).startswith(("[", "{"))
    if form.separator and form.separator in text and not is_json:
        return list(_named(text, form))
    return [call for value in _values(text) for call in _calls_of(value)]


def write_call(call: RawCall, form: ToolFormat) -> str:
    """A call in a format, without opening and closing."""
    if form.body == "python":
        named = json.loads(call.arguments)
        return f"{call.name}({', '.join(f'{key}={value!r}' for key, value in named.items())})"
    return f'{{"name": {json.dumps(call.name)}, "{form.arguments}": {call.arguments}}}'


def _values(text: str) -> Iterator[Any]:
    """JSON values, one after the other."""
    decoder, at = json.JSONDecoder(parse_constant=_refuse), 0
    while at < len(text):
        if text[at] in _BETWEEN:
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        yield value


def _calls_of(value: Any) -> list[RawCall]:
    if isinstance(value, list):
        return [call for one in value for call in _calls_of(one)]
    if not isinstance(value, dict):
        raise Malformed("it is no JSON object")
    inner = value.get("function")
    if isinstance(inner, dict):  # some models write OpenAI's own form
        value = inner
    name = value.get("name", inner if isinstance(inner, str) else None)
    if not isinstance(name, str) or not name:
        raise Malformed("it names no function")
    arguments: Any = next((value[key] for key in _KEYS if key in value), {})
    if isinstance(arguments, str):
        arguments = json.loads(arguments, parse_constant=_refuse)
    if not isinstance(arguments, dict):
        raise Malformed("its arguments are no JSON object")
    return [RawCall(name=name, arguments=_json(arguments))]


def _named(text: str, form: ToolFormat) -> Iterator[RawCall]:
    for part in filter(None, (one.strip(_SPACE) for one in text.split(form.opening))):
        name, separator, arguments = part.partition(form.separator)
        if not separator or not name.strip(_SPACE):
            raise Malformed("it names no function")
        value = json.loads(arguments, parse_constant=_refuse)
        if not isinstance(value, dict):
            raise Malformed("its arguments are no JSON object")
        yield RawCall(name=name.strip(_SPACE), arguments=_json(value))


def _python(text: str) -> list[RawCall]:
    try:
        tree = ast.parse(text.strip(_SPACE), mode="eval").body
    except (SyntaxError, UnicodeError) as error:
        raise Malformed(f"it is no Python call: {error}") from error
    calls = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
    return [_python_call(call) for call in calls]


def _python_call(node: ast.expr) -> RawCall:
    if not isinstance(node, ast.Call) or node.args:
        raise Malformed("it is no call with named arguments")
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise Malformed("its arguments have no names")
        arguments[keyword.arg] = ast.literal_eval(keyword.value)
    try:
        return RawCall(name=ast.unparse(node.func), arguments=_json(arguments))
    except TypeError as error:
        raise Malformed(f"its arguments are no JSON: {error}") from error


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
