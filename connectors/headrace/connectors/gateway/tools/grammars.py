"""What a reply with tools may say, as a grammar for llguidance. Pure."""

import json
import re
from collections.abc import Sequence
from typing import Any

from headrace.connectors.engines import Constraint
from headrace.connectors.gateway.conversation import Tool, ToolChoice
from headrace.connectors.gateway.tools.formats import ToolFormat
from headrace.connectors.gateway.tools.python_grammar import call_rules, can_be_called

_ANY = r"/(.|\n)*/"
_SPACE = r"[ \t\n\r]{0,64}"
"""Between the parts of JSON; without a bound small models write spaces to the end."""


class NoGrammar(ValueError):
    """A call that must be made cannot be written in the model's format; the message says why."""


def grammar(
    tools: Sequence[Tool],
    choice: ToolChoice,
    form: ToolFormat,
    *,
    answer: Constraint | None = None,
    strict: bool = False,
    opening_id: int | None = None,
) -> Constraint | None:
    """What a reply may say; None: anything.

    Args:
        answer: the form of a reply that calls nothing.
        strict: whether calls of tools that are strict must follow their schema though none has
            to be made.
        opening_id: the token that stands for the format's opening, where there is one.

    Raises:
        NoGrammar: a call has to be made, and none can be written.
    """
    named = [tool for tool in tools if choice.name in ("", tool.name)]
    must = choice.mode == "required"
    writable = named if form.body != "python" else [tool for tool in named if can_be_called(tool)]
    wished = strict and any(tool.strict for tool in named)
    if choice.mode == "none" or not named or not (must or wished or answer):
        return answer
    if not writable:
        if must:
            raise NoGrammar("names of the tool or of its arguments are none of Python's")
        return answer
    if answer is not None and answer.kind not in ("json_object", "json_schema") and not must:
        return answer
    rules = [f"start: {_start(form, choice, must=must, answer=answer)}"]
    rules += _calls(writable, form, opening_id, many=not must and choice.parallel)
    if not must and answer is not None:
        rules.append(f"answer: %json {_bounded(json.loads(answer.source or _OBJECT))}")
    return Constraint(kind="lark", source="\n".join(rules) + "\n")


_OBJECT = '{"type": "object"}'


def _start(form: ToolFormat, choice: ToolChoice, *, must: bool, answer: Constraint | None) -> str:
    if must:
        return "calls"
    if answer is not None:
        return "calls | answer"
    if not form.closing:
        return "calls | OTHER"
    return "said* OTHER" if choice.parallel else "said? OTHER"


def _calls(
    tools: Sequence[Tool], form: ToolFormat, opening_id: int | None, *, many: bool
) -> list[str]:
    """Rules of `calls` alone, `said` (text, then a call), and texts that begin none."""
    opening, closing = json.dumps(form.opening), json.dumps(form.closing)
    token = "" if opening_id is None else f"<[{opening_id}]>"
    opened = f"({opening} | {token})" if token else opening
    one = " | ".join(f"call{i}" for i in range(len(tools)))
    rules = [f"one: {one}", f"ANY: {_ANY}"]
    if form.closing:
        rules += [
            r"SPACE: /[ \n]{0,2}/",
            f"tag: {opened} SPACE one SPACE {closing}",
            "calls: tag (SPACE tag)*" if many else "calls: tag",
            f"said: (begun{f' | ANY {token}' if token else ''}) SPACE one SPACE {closing}",
            f"begun[lazy]: ANY {opening}",
            rf"OTHER: {_ANY} & ~/(.|\n)*{_regex(form.opening)}(.|\n)*/",
        ]
    else:
        begins = rf"\[|{_regex(form.opening)}" + ("" if form.body == "python" else r"|\{")
        rules += [
            f"calls: {opened}? {_row(form, many=many)}",
            rf"OTHER: {_ANY} & ~/[ \t\n\r]*({begins})(.|\n)*/",
        ]
    if form.body == "python":
        return [*rules, *call_rules(tools)]
    schemas = [_bounded(_call_schema(tool, form)) for tool in tools]
    return rules + [f"call{i}: %json {schema}" for i, schema in enumerate(schemas)]


def _regex(text: str) -> str:
    return re.escape(text).replace("/", r"\/")


def _row(form: ToolFormat, *, many: bool) -> str:
    """Calls that are the whole reply."""
    if form.body == "python":
        return '"[" one (COMMA one)* "]"' if many else '"[" one "]"'
    return 'one | "[" one (/, ?/ one)* "]"' if many else "one"


def _call_schema(tool: Tool, form: ToolFormat) -> dict[str, Any]:
    parameters = dict(tool.parameters) or {"type": "object"}
    # References of a schema start at its root, which is now this one.
    names = [name for name in ("$defs", "definitions") if name in parameters]
    shared: dict[str, Any] = {name: parameters[name] for name in names}
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, form.arguments: parameters},
        "required": ["name", form.arguments],
        "additionalProperties": False,
        **shared,
    }


def _bounded(schema: Any) -> str:
    if isinstance(schema, dict):
        schema = {**schema, "x-guidance": {"whitespace_pattern": _SPACE}}
    return json.dumps(schema, ensure_ascii=False)
