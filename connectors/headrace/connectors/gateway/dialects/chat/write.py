"""Answers of the Chat Completions API. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.connectors.gateway.conversation import Answer, Choice, TokenFact, ToolCall, Usage

LEAST_LOGPROB = -9999.0
"""What stands for minus infinity, which JSON does not have."""


def write(answer: Answer, *, with_ids: bool, with_logprobs: bool) -> dict[str, Any]:
    """A whole answer, with ours under `headrace`."""
    ids = {"prompt_token_ids": list(answer.choices[0].prompt_ids)} if with_ids else {}
    return {
        "id": answer.id,
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [_choice(one, with_ids, with_logprobs) for one in answer.choices],
        "usage": usage_of(answer.usage),
        "system_fingerprint": answer.fingerprint,
        **ids,
        "headrace": dict(answer.facts),
    }


def usage_of(usage: Usage) -> dict[str, Any]:
    """Tokens."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    }


def call_of(call: ToolCall) -> dict[str, Any]:
    """A call of a tool."""
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def logprobs_of(tokens: Sequence[TokenFact]) -> dict[str, Any]:
    """Log-probabilities of tokens, with their text and bytes."""
    content = [
        {
            **_logprob(token.raw, token.logprob),
            "top_logprobs": [_logprob(raw, logprob) for _, raw, logprob in token.top],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _choice(choice: Choice, with_ids: bool, with_logprobs: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.tool_calls:
        message["content"] = choice.text or None
        message["tool_calls"] = [call_of(call) for call in choice.tool_calls]
    ids: Mapping[str, Any] = {"token_ids": list(choice.sampled_ids)} if with_ids else {}
    return {
        "index": choice.index,
        "message": message,
        "logprobs": logprobs_of(choice.tokens) if with_logprobs else None,
        "finish_reason": choice.finish_reason,
        **ids,
    }


def _logprob(raw: bytes, logprob: float) -> dict[str, Any]:
    return {
        "token": raw.decode(errors="replace"),
        "logprob": max(logprob, LEAST_LOGPROB),
        "bytes": list(raw),
    }
