"""Chat completions of an upstream: passed on untouched, telemetry only."""

import json
import math
from collections.abc import Mapping
from typing import Any

from headrace.connectors.engines.upstream import Upstream, UpstreamAnswer, UpstreamUnavailable
from headrace.connectors.gateway.calls import Completion, IncomingCall, no_tokens
from headrace.connectors.gateway.errors import BackendFailed
from headrace.schemas import Call
from headrace.schemas.vocabulary import Untrainable


class ForwardedChat:
    """Answers every model that the gateway does not serve itself."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def complete(self, asked: IncomingCall, body: Mapping[str, Any]) -> Completion:
        """Forward a request and give back what came, an error of the upstream included.

        Raises:
            BackendFailed: the upstream did not answer.
        """
        try:
            answer = await self._upstream.chat(body)
        except UpstreamUnavailable as error:
            raise BackendFailed(str(error)) from error
        return read_answer(asked, body, answer)


def read_answer(asked: IncomingCall, body: Mapping[str, Any], answer: UpstreamAnswer) -> Completion:
    """The telemetry of a forwarded call. What is missing or odd in the answer stays empty."""
    try:
        fields = json.loads(answer.body)
    except ValueError:
        fields = {}
    fields = fields if isinstance(fields, dict) else {}
    choices = fields.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    choice = choice if isinstance(choice, dict) else {}
    usage = fields.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    call = Call(
        model=_text(fields.get("model")) or asked.model,
        response_id=_text(fields.get("id")),
        **no_tokens(),
        temperature=_float(body.get("temperature"), 1.0),
        top_p=_float(body.get("top_p"), 1.0),
        max_tokens=_count(body.get("max_completion_tokens", body.get("max_tokens"))),
        finish_reason=_text(choice.get("finish_reason")),
        untrainable_reason=Untrainable.NO_TOKENS,
    )
    return Completion(
        body=answer.body,
        status=answer.status,
        call=call,
        output=_output(choice) if answer.status < 400 else answer.body.decode(errors="replace"),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        attributes={"http.response.status_code": answer.status},
    )


def _output(choice: Mapping[str, Any]) -> str:
    message = choice.get("message")
    if not isinstance(message, dict):
        return ""
    if isinstance(message.get("content"), str) and not message.get("tool_calls"):
        return _text(message["content"])
    return json.dumps(message)  # tool calls, refusals: the whole message tells what was done


def _text(value: Any) -> str:
    # An upstream's JSON may hold half of a surrogate pair, which no UTF-8 can.
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def _float(value: Any, default: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) and abs(value) < 1e6 else default


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 2**31 else 0
