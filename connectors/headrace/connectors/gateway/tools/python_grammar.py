"""Calls as Python writes them, as a grammar that their tool's JSON schema allows. Pure.

Types, enumerations, objects and lists are kept; what else a schema may ask (patterns, bounds,
formats) is not, and what it does not say may be any literal.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from headrace.connectors.gateway.conversation import Tool

_TERMINALS = r"""
COMMA: /, ?/
STRING: /"([^"\\\x00-\x1f\x7f]|\\["\\nt])*"/ | /'([^'\\\x00-\x1f\x7f]|\\['\\nt])*'/
INTEGER: /-?(0|[1-9][0-9]{0,15})/
NUMBER: /-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?/
BOOLEAN: "True" | "False"
any: STRING | NUMBER | BOOLEAN | "None" | any_list | any_dict
any_list: "[" (any (COMMA any)*)? "]"
any_dict: "{" (STRING ": " any (COMMA STRING ": " any)*)? "}"
"""
_TYPES = {
    "string": "STRING",
    "integer": "INTEGER",
    "number": "NUMBER",
    "boolean": "BOOLEAN",
    "null": '"None"',
    "array": "any_list",
    "object": "any_dict",
}


def can_be_called(tool: Tool) -> bool:
    """Whether Python has a call of a tool: its names must be Python's."""
    names = tool.parameters.get("properties")
    arguments = names if isinstance(names, Mapping) else {}
    return all(part.isidentifier() for part in (*tool.name.split("."), *arguments))


def call_rules(tools: Sequence[Tool]) -> list[str]:
    """Rules call0, call1, … of tools, and what they need."""
    rules: list[str] = [_TERMINALS]
    for i, tool in enumerate(tools):
        made = _Rules(f"call{i}", tool.parameters)
        arguments = made.members(tool.parameters, lambda name: _text(f"{name}="))
        rules += [f"call{i}: {_text(tool.name + '(')} ({arguments}) {_text(')')}", *made.rules]
    return rules


class _Rules:
    """The rules of one tool's values."""

    def __init__(self, prefix: str, root: Mapping[str, Any]) -> None:
        self.rules: list[str] = []
        self._prefix, self._root = prefix, root
        self._named: dict[str, str] = {}

    def members(self, schema: Mapping[str, Any], written: Callable[[str], str]) -> str:
        """An object's members in the order of its schema, those that must be there first.

        written: how a name begins its member, as part of a rule.
        """
        properties = schema.get("properties")
        if not isinstance(properties, Mapping):
            return '""'
        needed = schema.get("required")
        needed = needed if isinstance(needed, list) else []
        given = {
            str(name): f"{written(name)} {self.value(inner)}" for name, inner in properties.items()
        }
        must = [rule for name, rule in given.items() if name in needed]
        may = [rule for name, rule in given.items() if name not in needed]
        if must:
            return " COMMA ".join(must) + "".join(f" (COMMA {rule})?" for rule in may)
        # Each of those that may be there can be the first.
        firsts = [
            may[i] + "".join(f" (COMMA {rule})?" for rule in may[i + 1 :]) for i in range(len(may))
        ]
        return " | ".join([*firsts, '""'])

    def value(self, schema: Any) -> str:
        """A value, as part of a rule."""
        if not isinstance(schema, Mapping):
            return "any"
        if isinstance(schema.get("$ref"), str):
            return self._reference(schema["$ref"])
        if "const" in schema:
            return _literal(schema["const"])
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return _either(_literal(one) for one in schema["enum"])
        for name in ("anyOf", "oneOf"):
            if isinstance(schema.get(name), list) and schema[name]:
                return _either(self.value(one) for one in schema[name])
        kind = schema.get("type")
        if isinstance(kind, list) and kind:
            return _either(self.value({**schema, "type": one}) for one in kind)
        return self._typed(kind, schema)

    def _typed(self, kind: Any, schema: Mapping[str, Any]) -> str:
        if kind == "array" and "items" in schema:
            item = self.value(schema["items"])
            return f'"[" ({item} (COMMA {item})*)? "]"'
        if kind == "object" and isinstance(schema.get("properties"), Mapping):
            members = self.members(schema, lambda name: f'{_literal(name)} ": "')
            return f'"{{" ({members}) "}}"'
        return _TYPES.get(kind, "any") if isinstance(kind, str) else "any"

    def _reference(self, path: str) -> str:
        if path not in self._named:
            schema: Any = self._root
            for part in path.removeprefix("#/").split("/") if path.startswith("#/") else ():
                schema = schema.get(part) if isinstance(schema, Mapping) else None
            rule = self._named[path] = f"{self._prefix}_ref{len(self._named)}"
            found = schema if path.startswith("#/") else None
            self.rules.append(f"{rule}: {self.value(found)}")
        return self._named[path]


def _either(rules: Iterable[str]) -> str:
    return f"({' | '.join(rules)})"


def _literal(value: Any) -> str:
    """A value, in both quotes if it is a text."""
    if not isinstance(value, str) or not value.isprintable():
        return _text(repr(value))
    double = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _either([_text(repr(value)), _text(double)])


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
