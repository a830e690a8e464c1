"""Attributes that are facts: what stays of a span's attributes where texts are left out. Data."""

import json
from typing import Any

INPUT_SIDES = (
    "gen_ai.input.",
    "gen_ai.prompt",
    "gen_ai.system_instructions",
    "gen_ai.tool.call.arguments",
    "gen_ai.user.",
    "input.",
    "llm.input_messages.",
    "llm.prompts",
    "tool_arguments",
    "traceloop.entity.input",
    "pydantic_ai.all_messages",
    "all_messages_events",
    "agentlightning.operation.input",
)
OUTPUT_SIDES = (
    "gen_ai.output.",
    "gen_ai.completion",
    "gen_ai.tool.call.result",
    "output.",
    "llm.output_messages.",
    "tool_response",
    "traceloop.entity.output",
    "final_result",
    "agentlightning.operation.output",
    "agentlightning.message.body",
    "agentlightning.object.",
    "exception.",
)
"""Beginnings of the names of attributes that tell what went in and what came out."""
_NUMBERS = (
    "gen_ai.usage.",
    "gen_ai.request.",
    "gen_ai.response.time",
    "http.response.status_code",
    "headrace.",
    "llm.token_count.",
    "gen_ai.evaluation.score.value",
    "agentlightning.reward.",
    "server.port",
)
"""Beginnings of names whose numbers and truths stay."""
_WORDS = frozenset(
    {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.system",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "gen_ai.response.id",
        "gen_ai.response.finish_reasons",
        "gen_ai.tool.name",
        "gen_ai.tool.type",
        "gen_ai.agent.name",
        "gen_ai.output.type",
        "gen_ai.evaluation.name",
        "gen_ai.agent.id",
        "gen_ai.conversation.id",
        "agent.name",
        "graph.node.id",
        "tool.name",
        "session.id",
        "traceloop.span.kind",
        "traceloop.entity.name",
        "llm.request.type",
        "openinference.span.kind",
        "llm.provider",
        "llm.system",
        "llm.model_name",
        "error.type",
        "exception.type",
        "how",
        "headrace.project",
        "headrace.rollout_id",
        "headrace.attempt",
        "headrace.runner",
        "headrace.ended_by",
        "limit",
        "headrace.prompt",
        "headrace.prompt_extends",
        "headrace.choice_of",
    }
)
"""Names whose words stay, up to `_LONGEST` characters."""
_PLAIN_NUMBERS = frozenset({"number", "again_s", "allowed"})
_LONGEST = 128


def only_facts(attributes: str) -> str:
    """The facts among a span's attributes; both are JSON objects, or empty."""
    try:
        given = json.loads(attributes) if attributes else {}
    except (ValueError, RecursionError):
        return ""
    kept = facts_of(given) if isinstance(given, dict) else {}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")) if kept else ""


def facts_of(attributes: Any) -> dict[str, Any]:
    """The facts among attributes."""
    return {name: value for name, value in attributes.items() if _is_fact(name, value)}


def _is_fact(name: str, value: Any) -> bool:
    if isinstance(value, (bool, int, float)):
        return name.startswith(_NUMBERS) or name in _PLAIN_NUMBERS
    if isinstance(value, (list, tuple)):
        return name in _WORDS and len(value) <= _LONGEST and all(_is_fact(name, v) for v in value)
    return name in _WORDS and isinstance(value, str) and len(value) <= _LONGEST
