"""Answers of the Completions API. Pure; its errors are OpenAI's."""

import codecs
from collections.abc import Sequence
from typing import Any

from headrace.connectors.gateway.conversation import Answer, Choice, TokenFact, Usage

LEAST_LOGPROB = -9999.0
"""What stands for minus infinity, which JSON does not have."""


def write(answer: Answer, *, echoed: Sequence[str] = ()) -> dict[str, Any]:
    """A whole answer; `echoed` are the prompts that each choice's text begins with."""
    return {
        **head(answer.id, answer.model, answer.created, answer.fingerprint),
        "choices": [_choice(one, echoed[one.index] if echoed else "") for one in answer.choices],
        "usage": usage_of(answer.usage),
    }


def head(identity: str, model: str, created: int, fingerprint: str | None = None) -> dict[str, Any]:
    """What every piece of an answer begins with."""
    return {
        "id": identity,
        "object": "text_completion",
        "created": created,
        "model": model,
        "system_fingerprint": fingerprint,
    }


def usage_of(usage: Usage) -> dict[str, Any]:
    """Tokens."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    }


def _choice(choice: Choice, echoed: str) -> dict[str, Any]:
    return {
        "index": choice.index,
        "text": echoed + choice.text,
        "logprobs": LegacyLogprobs().of(choice.tokens) if choice.tokens else None,
        "finish_reason": choice.finish_reason,
    }


class LegacyLogprobs:
    """Log-probabilities in columns, as this API has them, of a completion that may still grow.

    `text_offset` counts the characters of the completion before a token.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._offset = 0

    def of(self, tokens: Sequence[TokenFact]) -> dict[str, Any]:
        """The columns of the next tokens."""
        offsets = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(self._decoder.decode(token.raw))
        return {
            "tokens": [token_text(token.raw) for token in tokens],
            "token_logprobs": [max(token.logprob, LEAST_LOGPROB) for token in tokens],
            "top_logprobs": [
                {token_text(raw): max(logprob, LEAST_LOGPROB) for _, raw, logprob in token.top}
                for token in tokens
            ],
            "text_offset": offsets,
        }


def token_text(raw: bytes) -> str:
    """A token as text; where it holds but part of a character, its bytes, as OpenAI writes them."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
