"""Calls of an upstream: passed on untouched, telemetry only."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.connectors.engines.upstream import Upstream, UpstreamAnswer, UpstreamUnavailable
from headrace.connectors.gateway.calls import AnsweredCall, IncomingCall, no_tokens
from headrace.connectors.gateway.errors import BackendFailed
from headrace.schemas import Call
from headrace.schemas.vocabulary import SpanStatus, Untrainable


@dataclass(kw_only=True, slots=True, frozen=True)
class Relayed:
    """What goes out, and what is kept of it."""

    status: int
    body: bytes
    media_type: str
    call: AnsweredCall


class Forwarded:
    """Answers every model that the gateway does not serve itself."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def forward(self, asked: IncomingCall, path: str, body: Mapping[str, Any]) -> Relayed:
        """Forward a request and give back what came, an error of the upstream included.

        Raises:
            BackendFailed: the upstream did not answer.
        """
        try:
            answer = await self._upstream.post(path, body)
        except UpstreamUnavailable as error:
            raise BackendFailed(str(error)) from error
        return Relayed(
            status=answer.status,
            body=answer.body,
            media_type=answer.media_type,
            call=read_answer(asked, body, answer),
        )


def read_answer(
    asked: IncomingCall, body: Mapping[str, Any], answer: UpstreamAnswer
) -> AnsweredCall:
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
    failed = answer.status >= 400
    return AnsweredCall(
        span_id=asked.span_id,
        status=SpanStatus.ERROR if failed else SpanStatus.OK,
        call=Call(
            model=_text(fields.get("model")) or asked.model,
            response_id=_text(fields.get("id")),
            **no_tokens(),
            temperature=_float(body.get("temperature"), 1.0),
            top_p=_float(body.get("top_p"), 1.0),
            max_tokens=_count(body.get("max_completion_tokens", body.get("max_tokens"))),
            finish_reason=_text(choice.get("finish_reason")),
            untrainable_reason=Untrainable.NO_TOKENS,
        ),
        output=answer.body.decode(errors="replace") if failed else _output(choice, fields),
        prompt_tokens=_count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        completion_tokens=_count(usage.get("completion_tokens", usage.get("output_tokens"))),
        attributes={"http.response.status_code": answer.status},
    )


def _output(choice: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    message = choice.get("message")
    if not isinstance(message, dict):
        said = fields.get("output", fields.get("content"))  # Responses; Messages
        return "" if said is None else json.dumps(said)
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
