"""A request of the Chat Completions API, checked. Pure.

https://platform.openai.com/docs/api-reference/chat/create, and of vLLM: `return_token_ids`.
"""

from collections.abc import Mapping
from typing import Any

from headrace.connectors.engines import Constraint
from headrace.connectors.gateway.conversation import Ask, Message
from headrace.connectors.gateway.dialects.chat.messages import read_message
from headrace.connectors.gateway.dialects.chat.tools import read_tool_choice, read_tools
from headrace.connectors.gateway.dialects.fields import (
    MAX_TOP_LOGPROBS,
    flag,
    integer,
    json_form,
    model_of,
    one_object,
    sampling,
    stops,
    unknown_fields,
)
from headrace.connectors.gateway.errors import BadRequest

HONOURED = frozenset(
    {
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "min_p",
        "model",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "response_format",
        "return_token_ids",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
    }
)
# They say who asks, or how it is billed and stored: the completion is the same without them.
IGNORED = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
# Refused unless the value asks for nothing: null, or one of these.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "modalities": (["text"],),
    "prediction": (),
    "reasoning_effort": ("none", "minimal"),
    "repetition_penalty": (1,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
MAX_CHOICES = 128


def read(body: Mapping[str, Any], *, max_messages: int, default_max_tokens: int) -> Ask:
    """What a request asks for.

    Raises:
        BadRequest: a field is malformed, or asks for what is not served; message and `param` name
            it.
    """
    noted = unknown_fields(body, honoured=HONOURED, ignored=IGNORED, neutral=NEUTRAL)
    most = "max_tokens" if body.get("max_completion_tokens") is None else "max_completion_tokens"
    tools = read_tools(body)
    return Ask(
        model=model_of(body),
        messages=_messages(body, max_messages),
        tools=tools,
        tool_choice=read_tool_choice(body, tools),
        sampling=sampling(
            body,
            max_tokens=integer(body, most, default_max_tokens, 1),
            stop=stops(body),
            adjusts=True,
        ),
        says_max_tokens=body.get(most) is not None,
        choices=integer(body, "n", 1, 1, MAX_CHOICES + 1),
        logprobs=_logprobs(body),
        constraint=_constraint(body),
        streams=flag(body, "stream"),
        noted=noted,
    )


def _messages(body: Mapping[str, Any], max_messages: int) -> tuple[Message, ...]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list of at least one message", param="messages")
    if len(messages) > max_messages:
        raise BadRequest(
            f"messages has {len(messages)} entries: give up to {max_messages} "
            "([gateway] max_messages)",
            param="messages",
        )
    return tuple(read_message(message, f"messages[{i}]") for i, message in enumerate(messages))


def _logprobs(body: Mapping[str, Any]) -> int | None:
    top = integer(body, "top_logprobs", 0, 0, MAX_TOP_LOGPROBS + 1)
    if flag(body, "logprobs"):
        return top
    if top:
        raise BadRequest("top_logprobs needs logprobs: true", param="top_logprobs")
    return None


def _constraint(body: Mapping[str, Any]) -> Constraint | None:
    form = one_object(body, "response_format")
    schema = one_object(form, "json_schema", "response_format.")
    return json_form({**form, "schema": schema.get("schema")}, "response_format")
