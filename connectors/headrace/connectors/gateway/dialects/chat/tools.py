"""Tools of the Chat Completions API, and the functions that came before them. Pure."""

from collections.abc import Mapping
from typing import Any

from headrace.connectors.gateway.conversation import Tool, ToolChoice
from headrace.connectors.gateway.dialects.fields import (
    flag,
    objects,
    one_object,
    text,
    unsupported,
)
from headrace.connectors.gateway.errors import BadRequest

_MODES: dict[str, ToolChoice] = {
    "auto": ToolChoice(),
    "none": ToolChoice(mode="none"),
    "required": ToolChoice(mode="required"),
}


def read_tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    """The tools of a request; raises BadRequest."""
    tools = []
    for i, tool in enumerate(objects(body, "tools")):
        where = f"tools[{i}]."
        if tool.get("type", "function") != "function":
            raise unsupported(f"{where}type", "other than function", "give a function")
        function = tool.get("function")
        if not isinstance(function, dict):
            raise BadRequest(f"{where}function must be an object", param=f"{where}function")
        tools.append(_function(function, f"{where}function."))
    older = objects(body, "functions")
    return (*tools, *(_function(one, f"functions[{i}].") for i, one in enumerate(older)))


def read_tool_choice(body: Mapping[str, Any], tools: tuple[Tool, ...]) -> ToolChoice:
    """Whether a tool may or must be called; raises BadRequest."""
    parallel = flag(body, "parallel_tool_calls", default=True)
    field = "tool_choice" if body.get("tool_choice") is not None else "function_call"
    choice = body.get(field)
    if choice is None:
        return ToolChoice(parallel=parallel)
    if isinstance(choice, str):
        if choice not in _MODES:
            raise BadRequest(
                f"{field} must be none, auto, required or name a function", param=field
            )
        mode = _MODES[choice].mode
        if mode == "required" and not tools:
            raise BadRequest(f"{field} wants a tool, and there are no tools", param=field)
        return ToolChoice(mode=mode, parallel=parallel)
    return ToolChoice(mode="required", name=_named(body, field, tools), parallel=parallel)


def _named(body: Mapping[str, Any], field: str, tools: tuple[Tool, ...]) -> str:
    choice = one_object(body, field)
    if field == "tool_choice" and choice.get("type") != "function":
        raise unsupported("tool_choice.type", "other than function")
    function = one_object(choice, "function", f"{field}.") if "function" in choice else choice
    name = text(function, "name", f"{field}.")
    if all(tool.name != name for tool in tools):
        raise BadRequest(
            f"{field} names the tool {name[:80]!r}, which is not among tools", param=field
        )
    return name


def _function(function: Mapping[str, Any], where: str) -> Tool:
    return Tool(
        name=text(function, "name", where),
        description=text(function, "description", where, default=""),
        parameters=one_object(function, "parameters", where),
        strict=flag(function, "strict", where=where),
    )
