"""Answers of the Responses API. Pure; its errors are OpenAI's."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from headrace.connectors.gateway.conversation import Answer, TokenFact, ToolCall, Usage
from headrace.connectors.gateway.errors import ApiError

Status = Literal["in_progress", "completed", "incomplete"]
LEAST_LOGPROB = -9999.0
"""What stands for minus infinity, which JSON does not have."""
_ERROR_CODES = {400: "invalid_prompt", 429: "rate_limit_exceeded"}


def write(answer: Answer, repeated: Mapping[str, Any]) -> dict[str, Any]:
    """A whole answer; `repeated` are the fields of the request that it holds."""
    return finished(answer, repeated, output_of(answer))


def finished(
    answer: Answer, repeated: Mapping[str, Any], output: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A whole answer that says these items."""
    cut = answer.choices[0].finish_reason == "length"
    return {
        **begun(answer.id, answer.model, answer.created, repeated),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": list(output),
        "usage": usage_of(answer.usage),
    }


def begun(identity: str, model: str, created: int, repeated: Mapping[str, Any]) -> dict[str, Any]:
    """An answer in which nothing is said yet."""
    return {
        **repeated,
        "id": identity,
        "object": "response",
        "created_at": created,
        "model": model,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }


def failed(response: Mapping[str, Any], failure: ApiError) -> dict[str, Any]:
    """An answer that broke off."""
    code = _ERROR_CODES.get(failure.status, "server_error")
    return {**response, "status": "failed", "error": {"code": code, "message": failure.message}}


def output_of(answer: Answer) -> list[dict[str, Any]]:
    """The items of an answer: its text, then its calls. The last is the one that was cut."""
    choice = answer.choices[0]
    items: list[dict[str, Any]] = []
    if choice.text or not choice.tool_calls:
        identity = item_id("msg", answer.id, 0)
        items.append(message_item(identity, choice.text, "completed", choice.tokens))
    for call in choice.tool_calls:
        items.append(call_item(item_id("fc", answer.id, len(items)), call, "completed"))
    items[-1]["status"] = last_status(choice.finish_reason)
    return items


def last_status(finish_reason: str) -> Status:
    """Of the item with which an answer ended."""
    return "incomplete" if finish_reason == "length" else "completed"


def item_id(kind: str, identity: str, index: int) -> str:
    """The id of an item, which tells the id of its answer."""
    return f"{kind}_{identity.removeprefix('resp_')}_{index}"


def response_of_item(item: str) -> str:
    """The id of the answer that an item's id tells; any text where it tells none."""
    return f"resp_{item.partition('_')[2].rpartition('_')[0]}"


def message_item(
    identity: str, text: str, status: Status, tokens: Sequence[TokenFact] = ()
) -> dict[str, Any]:
    """A message; without content while nothing is said."""
    started = status != "in_progress"
    return {
        "id": identity,
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [text_part(text, tokens)] if started else [],
    }


def text_part(text: str, tokens: Sequence[TokenFact] = ()) -> dict[str, Any]:
    """Text of a message."""
    return {
        "type": "output_text",
        "text": text,
        "annotations": [],
        "logprobs": logprobs_of(tokens),
    }


def call_item(identity: str, call: ToolCall, status: Status) -> dict[str, Any]:
    """A call of a function."""
    return {
        "id": identity,
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def logprobs_of(tokens: Sequence[TokenFact]) -> list[dict[str, Any]]:
    """Log-probabilities of tokens."""
    return [
        {
            **_logprob(token.raw, token.logprob),
            "top_logprobs": [_logprob(raw, logprob) for _, raw, logprob in token.top],
        }
        for token in tokens
    ]


def usage_of(usage: Usage) -> dict[str, Any]:
    """Tokens."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.completion,
    }


def _logprob(raw: bytes, logprob: float) -> dict[str, Any]:
    return {
        "token": raw.decode(errors="replace"),
        "bytes": list(raw),
        "logprob": max(logprob, LEAST_LOGPROB),
    }
