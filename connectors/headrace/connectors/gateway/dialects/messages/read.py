"""A request of the Messages API, checked. Pure.

https://docs.anthropic.com/en/api/messages; the fields are those of anthropic 2.14.
"""

from collections.abc import Mapping
from typing import Any

from headrace.connectors.engines import Constraint
from headrace.connectors.gateway.conversation import Ask, Tool, ToolChoice
from headrace.connectors.gateway.dialects.fields import (
    flag,
    integer,
    json_form,
    model_of,
    objects,
    one_object,
    sampling,
    stops,
    text,
    unknown_fields,
    unsupported,
)
from headrace.connectors.gateway.dialects.messages.turns import read_system, read_turns
from headrace.connectors.gateway.errors import BadRequest

HONOURED = frozenset(
    {
        "max_tokens",
        "messages",
        "model",
        "output_config",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
# They say who asks, or how it is billed, cached and routed: the completion is the same without.
IGNORED = frozenset(
    {
        "cache_control",
        "diagnostics",
        "inference_geo",
        "metadata",
        "service_tier",
        "speed",
        "user_profile_id",
        "workspace_id",
    }
)
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "container": (),
    "context_management": ({}, {"edits": []}),
    "mcp_servers": ([],),
}
# Fields of a tool that change neither the prompt nor the answer.
_TOOL_IGNORED = frozenset({"allowed_callers", "cache_control", "eager_input_streaming"})
_TOOL_HONOURED = frozenset({"description", "input_schema", "name", "strict", "type"})
_TOOL_NEUTRAL = {"defer_loading": (False,)}
_CHOICES: dict[str, ToolChoice] = {
    "auto": ToolChoice(),
    "any": ToolChoice(mode="required"),
    "none": ToolChoice(mode="none"),
}


def read(body: Mapping[str, Any], *, max_messages: int) -> Ask:
    """What a request asks for.

    Raises:
        BadRequest: a field is malformed, or asks for what is not served; message and `param` name
            it.
    """
    if body.get("max_tokens") is None:
        raise BadRequest("max_tokens: this field is required", param="max_tokens")
    max_tokens = integer(body, "max_tokens", 1, 1)
    return _ask(body, max_messages, max_tokens, streams=flag(body, "stream"))


def read_count(body: Mapping[str, Any], *, max_messages: int) -> Ask:
    """The conversation of which a request wants to know the tokens; raises BadRequest."""
    return _ask(body, max_messages, max_tokens=1, streams=False)


def _ask(body: Mapping[str, Any], max_messages: int, max_tokens: int, *, streams: bool) -> Ask:
    noted = unknown_fields(body, honoured=HONOURED, ignored=IGNORED, neutral=NEUTRAL)
    _refuse_thinking(body)
    tools, noted_in_tools = _tools(body)
    return Ask(
        model=model_of(body),
        messages=(*read_system(body), *read_turns(body, max_messages)),
        tools=tools,
        tool_choice=_tool_choice(body, tools),
        sampling=sampling(body, max_tokens=max_tokens, stop=stops(body, "stop_sequences")),
        constraint=_constraint(body),
        streams=streams,
        noted=noted + noted_in_tools,
    )


def _refuse_thinking(body: Mapping[str, Any]) -> None:
    thinking = one_object(body, "thinking")
    # Adaptive thinking leaves it to the model, and this one does without.
    if thinking and thinking.get("type") not in ("disabled", "adaptive"):
        raise unsupported("thinking", "of this type", "leave it out, or send type: disabled")


def _constraint(body: Mapping[str, Any]) -> Constraint | None:
    config = one_object(body, "output_config")
    # `effort` beside it is about thinking, of which there is none.
    return json_form(one_object(config, "format", "output_config."), "output_config.format")


def _tools(body: Mapping[str, Any]) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
    tools: list[Tool] = []
    noted: set[str] = set()
    for i, tool in enumerate(objects(body, "tools")):
        where = f"tools[{i}]."
        if tool.get("type") not in (None, "custom"):
            raise unsupported(
                f"{where}type", f"{tool['type']!r}"[:80], "give a custom tool with an input_schema"
            )
        noted.update(
            unknown_fields(
                tool,
                honoured=_TOOL_HONOURED,
                ignored=_TOOL_IGNORED,
                neutral=_TOOL_NEUTRAL,
                where=where,
            )
        )
        schema = tool.get("input_schema")
        if not isinstance(schema, dict):
            raise BadRequest(
                f"{where}input_schema must be a JSON schema", param=f"{where}input_schema"
            )
        tools.append(
            Tool(
                name=text(tool, "name", where),
                description=text(tool, "description", where, default=""),
                parameters=schema,
                strict=flag(tool, "strict", where=where),
            )
        )
    return tuple(tools), tuple(f"tools.{name}" for name in sorted(noted))


def _tool_choice(body: Mapping[str, Any], tools: tuple[Tool, ...]) -> ToolChoice:
    choice = one_object(body, "tool_choice")
    if not choice:
        return ToolChoice()
    kind = choice.get("type")
    parallel = not flag(choice, "disable_parallel_tool_use", where="tool_choice.")
    if kind == "tool":
        name = text(choice, "name", "tool_choice.")
        if all(tool.name != name for tool in tools):
            raise BadRequest(
                f"tool_choice names the tool {name[:80]!r}, which is not among tools",
                param="tool_choice.name",
            )
        return ToolChoice(mode="required", name=name, parallel=parallel)
    if not isinstance(kind, str) or kind not in _CHOICES:
        raise BadRequest(
            "tool_choice.type must be auto, any, tool or none", param="tool_choice.type"
        )
    if kind == "any" and not tools:
        raise BadRequest("tool_choice wants a tool, and there are no tools", param="tool_choice")
    return ToolChoice(mode=_CHOICES[kind].mode, parallel=parallel)
