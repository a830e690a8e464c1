"""Tools of the Responses API: functions of the client. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from headrace.connectors.gateway.conversation import Tool, ToolChoice
from headrace.connectors.gateway.dialects.fields import (
    flag,
    objects,
    one_object,
    text,
    unknown_fields,
    unsupported,
)
from headrace.connectors.gateway.errors import BadRequest

_HONOURED = frozenset({"description", "name", "parameters", "strict", "type"})
_IGNORED = frozenset({"allowed_callers", "output_schema"})
_NEUTRAL = {"async": (False,), "defer_loading": (False,)}
_MODES = ("auto", "none", "required")


@dataclass(kw_only=True, slots=True, frozen=True)
class Chosen:
    """What `tool_choice` says."""

    choice: ToolChoice
    allowed: frozenset[str] | None = None
    """The only tools that the model may call; None: all."""

    def among(self, tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
        """The tools that it leaves.

        Raises:
            BadRequest: it names a tool that is not there, or wants one where there are none.
        """
        known = {tool.name for tool in tools}
        named = self.allowed if self.allowed is not None else {self.choice.name} - {""}
        if missing := sorted(named - known):
            raise BadRequest(
                f"tool_choice names {missing[0][:80]!r}, which is not among tools",
                param="tool_choice",
            )
        left = tuple(tool for tool in tools if self.allowed is None or tool.name in self.allowed)
        if self.choice.mode == "required" and not left:
            raise BadRequest(
                "tool_choice wants a tool, and there are no tools", param="tool_choice"
            )
        return left


def read_tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    """The functions that the model may call; raises BadRequest for tools of other types."""
    return tuple(_tool(tool, f"tools[{i}].") for i, tool in enumerate(objects(body, "tools")))


def _tool(tool: Mapping[str, Any], where: str) -> Tool:
    if tool.get("type") != "function":
        raise unsupported(
            f"{where}type", f"{tool.get('type')!r}"[:80], "this server calls functions only"
        )
    unknown_fields(tool, honoured=_HONOURED, ignored=_IGNORED, neutral=_NEUTRAL, where=where)
    return Tool(
        name=text(tool, "name", where),
        description=text(tool, "description", where, default=""),
        parameters=one_object(tool, "parameters", where),
        strict=flag(tool, "strict", where=where),
    )


def read_tool_choice(body: Mapping[str, Any]) -> Chosen:
    """Whether the model may, must or must not call, and which; raises BadRequest."""
    choice = body.get("tool_choice")
    parallel = flag(body, "parallel_tool_calls", default=True)
    if choice is None or isinstance(choice, str):
        return Chosen(choice=ToolChoice(mode=_mode(choice or "auto"), parallel=parallel))
    if not isinstance(choice, dict):
        raise BadRequest("tool_choice must be a string or an object", param="tool_choice")
    if choice.get("type") == "function":
        name = text(choice, "name", "tool_choice.")
        return Chosen(choice=ToolChoice(mode="required", name=name, parallel=parallel))
    if choice.get("type") == "allowed_tools":
        named = objects(choice, "tools", "tool_choice.")
        allowed = frozenset(
            text(tool, "name", f"tool_choice.tools[{i}].") for i, tool in enumerate(named)
        )
        mode = _mode(text(choice, "mode", "tool_choice."))
        return Chosen(choice=ToolChoice(mode=mode, parallel=parallel), allowed=allowed)
    raise unsupported("tool_choice", "of this type", "give auto, none, required or a function")


def _mode(mode: str) -> Literal["auto", "none", "required"]:
    if mode not in _MODES:
        raise BadRequest(
            f"tool_choice must be one of {', '.join(_MODES)}, or an object", param="tool_choice"
        )
    return cast(Literal["auto", "none", "required"], mode)
