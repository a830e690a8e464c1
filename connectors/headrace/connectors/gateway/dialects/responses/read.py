"""A request of the Responses API, checked. Pure.

https://platform.openai.com/docs/api-reference/responses/create; the fields are those of openai
3.54.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.connectors.gateway.conversation import Ask, Message
from headrace.connectors.gateway.dialects.fields import (
    MAX_TOP_LOGPROBS,
    flag,
    integer,
    json_form,
    model_of,
    one_object,
    sampling,
    text,
    unknown_fields,
    unsupported,
)
from headrace.connectors.gateway.dialects.responses.items import (
    Item,
    Recall,
    messages_of,
    read_items,
)
from headrace.connectors.gateway.dialects.responses.tools import read_tool_choice, read_tools
from headrace.connectors.gateway.errors import BadRequest

HONOURED = frozenset(
    {
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "metadata",
        "model",
        "parallel_tool_calls",
        "previous_response_id",
        "reasoning",
        "seed",
        "store",
        "stream",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "truncation",
    }
)
# They say who asks, or how it is billed, cached and framed: the completion is the same without.
IGNORED = frozenset(
    {
        "access_programs",
        "max_tool_calls",  # of tools that the server runs, of which there are none
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "stream_options",
        "user",
    }
)
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "background_options": ({},),
    "context_management": ([],),
    "conversation": (),
    "image": ({},),
    "moderation": (),
    "prompt": (),
}
_LOGPROBS = "message.output_text.logprobs"
_EFFORTS = (None, "none", "minimal")
_KEPT = ("instructions", "max_output_tokens", "metadata", "previous_response_id", "user")


@dataclass(kw_only=True, slots=True, frozen=True)
class ResponsesRequest:
    """A request, and what its answer repeats."""

    ask: Ask
    items: tuple[Item, ...]
    """Of its own input."""
    conversation: tuple[Item, ...]
    """Earlier ones, then its own."""
    store: bool
    """Whether the answer can be asked for again, and gone on from."""
    repeated: Mapping[str, Any]
    """Fields of the request that the answer repeats."""


def previous_of(body: Mapping[str, Any]) -> str | None:
    """The id of the answer that a request goes on from; raises BadRequest."""
    return text(body, "previous_response_id", default="") or None


def read(
    body: Mapping[str, Any],
    *,
    earlier: Sequence[Item] = (),
    recall: Recall = lambda _: None,
    max_messages: int,
    default_max_tokens: int,
) -> ResponsesRequest:
    """What a request asks for.

    Args:
        earlier: items of the conversation that `previous_response_id` names.
        recall: finds an item that was answered before.

    Raises:
        BadRequest: a field is malformed, or asks for what is not served; message and `param` name
            it.
    """
    noted = unknown_fields(body, honoured=HONOURED, ignored=IGNORED, neutral=NEUTRAL)
    _refuse_reasoning(body)
    tools, tool_choice = read_tools(body), read_tool_choice(body)
    items = read_items(body.get("input"), recall)
    conversation = (*earlier, *items)
    form = one_object(one_object(body, "text"), "format", "text.")
    ask = Ask(
        model=model_of(body),
        messages=_messages(body, conversation, len(earlier), max_messages),
        tools=tool_choice.among(tools),
        tool_choice=tool_choice.choice,
        sampling=sampling(
            body, max_tokens=integer(body, "max_output_tokens", default_max_tokens, 1)
        ),
        says_max_tokens=body.get("max_output_tokens") is not None,
        logprobs=_logprobs(body),
        constraint=json_form(form, "text.format"),
        streams=flag(body, "stream"),
        noted=noted,
    )
    store = flag(body, "store", default=True)
    return ResponsesRequest(
        ask=ask,
        items=items,
        conversation=conversation,
        store=store,
        repeated=_repeated(body, ask, form, store),
    )


def _messages(
    body: Mapping[str, Any], conversation: Sequence[Item], first: int, max_messages: int
) -> tuple[Message, ...]:
    if len(conversation) > max_messages:
        raise BadRequest(
            f"input and what came before have {len(conversation)} items: give up to "
            f"{max_messages} ([gateway] max_messages)",
            param="input",
        )
    messages = messages_of(conversation, first)
    if instructions := text(body, "instructions", default=""):
        messages = (Message(role="system", content=instructions), *messages)
    if not messages:
        raise BadRequest("input holds no message: give at least one", param="input")
    return messages


def _refuse_reasoning(body: Mapping[str, Any]) -> None:
    effort = one_object(body, "reasoning").get("effort")
    if effort not in _EFFORTS:
        raise unsupported("reasoning.effort", "above minimal")
    verbosity = one_object(body, "text").get("verbosity")
    if verbosity not in (None, "medium"):
        raise unsupported("text.verbosity", "other than medium")
    if body.get("truncation") not in (None, "disabled", "auto"):
        raise BadRequest("truncation must be disabled or auto", param="truncation")


def _logprobs(body: Mapping[str, Any]) -> int | None:
    include = body.get("include")
    if include is not None and not isinstance(include, list):
        raise BadRequest("include must be a list", param="include")
    top = integer(body, "top_logprobs", 0, 0, MAX_TOP_LOGPROBS + 1)
    return top if top or _LOGPROBS in (include or ()) else None


def _repeated(
    body: Mapping[str, Any], ask: Ask, form: Mapping[str, Any], store: bool
) -> dict[str, Any]:
    return {
        **{name: body.get(name) for name in _KEPT},
        "metadata": one_object(body, "metadata"),
        "background": False,
        "parallel_tool_calls": ask.tool_choice.parallel,
        "reasoning": {"effort": None, "summary": None, **one_object(body, "reasoning")},
        "service_tier": "default",
        "store": store,
        "temperature": ask.sampling.temperature,
        "text": {"format": form or {"type": "text"}},
        "tool_choice": "auto" if body.get("tool_choice") is None else body["tool_choice"],
        "tools": [
            {"strict": None, "description": None, "parameters": None, **tool}
            for tool in body.get("tools") or []
        ],
        "top_logprobs": ask.logprobs or 0,
        "top_p": ask.sampling.top_p,
        "truncation": body.get("truncation") or "disabled",
    }
