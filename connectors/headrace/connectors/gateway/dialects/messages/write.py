"""Answers and errors of the Messages API. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from headrace.connectors.gateway.conversation import Answer, Choice, Usage
from headrace.connectors.gateway.errors import ApiError

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def write(answer: Answer) -> dict[str, Any]:
    """A whole answer as a Message."""
    choice = answer.choices[0]
    content: list[dict[str, Any]] = []
    if choice.text:
        content.append({"type": "text", "text": choice.text, "citations": None})
    content += [
        {
            "type": "tool_use",
            "id": call.id,
            "name": call.name,
            "input": arguments_object(call.arguments),
        }
        for call in choice.tool_calls
    ]
    return {
        **message(answer.id, answer.model),
        "content": content,
        **stop_of(choice),
        "usage": usage_of(answer.usage),
    }


def message(identity: str, model: str) -> dict[str, Any]:
    """A Message in which nothing is said yet."""
    return {
        "id": identity,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": usage_of(Usage()),
    }


def stop_of(choice: Choice) -> dict[str, Any]:
    """Why it ended, by this API's names."""
    reason = "end_turn" if choice.stop is None else "stop_sequence"
    if choice.finish_reason != "stop":
        reason = "max_tokens" if choice.finish_reason == "length" else "tool_use"
    sequence = choice.stop if reason == "stop_sequence" else None
    return {"stop_reason": reason, "stop_sequence": sequence, "stop_details": None}


def usage_of(usage: Usage) -> dict[str, int]:
    """Tokens; this API counts those that were remembered apart from the other input."""
    return {
        "input_tokens": usage.prompt - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
    }


def arguments_object(arguments: str) -> Mapping[str, Any]:
    """Arguments of a call as the object that this API has for them.

    What the model wrote wrongly stays readable, under a name that no schema has.
    """
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"__invalid_json__": arguments}


def error(failure: ApiError) -> dict[str, Any]:
    """An error as this API's clients read it."""
    kind = _ERROR_TYPES.get(failure.status, "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": failure.message},
        "request_id": None,
    }
