"""Calls of an upstream: passed on untouched, telemetry only."""

import json
import math
from collections.abc import Mapping
from typing import Any

from headrace.connectors.engines.upstream import (
    Upstream,
    UpstreamAnswer,
    UpstreamReply,
    UpstreamUnavailable,
)
from headrace.connectors.gateway.backends.heard import Heard
from headrace.connectors.gateway.calls import AnsweredCall, IncomingCall, no_tokens
from headrace.connectors.gateway.errors import BackendFailed, CallFailed
from headrace.schemas import Call
from headrace.schemas.vocabulary import SpanStatus, Untrainable


class Forwarded:
    """Answers every model that the gateway does not serve itself."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def open(self, path: str, body: Mapping[str, Any]) -> UpstreamReply:
        """Forward a request; an error of the upstream is an answer too.

        Raises:
            BackendFailed: the upstream did not answer.
        """
        try:
            return await self._upstream.open(path, body)
        except UpstreamUnavailable as error:
            raise BackendFailed(str(error)) from error


def read_answer(
    asked: IncomingCall, body: Mapping[str, Any], answer: UpstreamAnswer
) -> AnsweredCall:
    """The telemetry of a whole answer. What is missing or odd in it stays empty."""
    try:
        told = json.loads(answer.body)
    except (ValueError, RecursionError):
        told = None
    failed = answer.status >= 400
    garbage = not failed and not isinstance(told, dict)
    if not failed and not garbage:
        return _call(asked, body, answer.status, told)
    fault = f"http_{answer.status}" if failed else "upstream_malformed"
    message = "the upstream's answer is no JSON object" if garbage else ""
    return _call(
        asked,
        body,
        answer.status,
        told if isinstance(told, dict) else {},
        output=answer.body.decode(errors="replace"),
        fault=(fault, message),
    )


def read_stream(
    asked: IncomingCall, body: Mapping[str, Any], heard: Heard, fault: CallFailed | None
) -> AnsweredCall:
    """The telemetry of a stream, or of what there was of it until the fault."""
    told = (fault.code or "", fault.message) if fault else None
    if told is None and heard.error is not None:
        told = ("upstream_error", _text(heard.error.get("message")))
    malformed = {"headrace.upstream_malformed_events": heard.malformed} if heard.malformed else {}
    return _call(asked, body, 200, heard.answer(), fault=told, attributes=malformed)


def _call(
    asked: IncomingCall,
    body: Mapping[str, Any],
    status: int,
    fields: Mapping[str, Any],
    *,
    output: str | None = None,
    fault: tuple[str, str] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> AnsweredCall:
    choices = fields.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    choice = choice if isinstance(choice, dict) else {}
    usage = fields.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    facts = {"http.response.status_code": status, **(attributes or {})}
    if fault is not None:
        facts |= {"error.type": fault[0], "error.message": fault[1]}
    return AnsweredCall(
        span_id=asked.span_id,
        status=SpanStatus.OK if fault is None else SpanStatus.ERROR,
        call=Call(
            model=_text(fields.get("model")) or asked.model,
            response_id=_text(fields.get("id")),
            **no_tokens(),
            temperature=_float(body.get("temperature"), 1.0),
            top_p=_float(body.get("top_p"), 1.0),
            max_tokens=_count(
                body.get(
                    "max_completion_tokens", body.get("max_tokens", body.get("max_output_tokens"))
                )
            ),
            finish_reason=_text(choice.get("finish_reason", fields.get("stop_reason"))),
            untrainable_reason=Untrainable.NO_TOKENS,
        ),
        output=_output(choice, fields) if output is None else output,
        prompt_tokens=_count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        completion_tokens=_count(usage.get("completion_tokens", usage.get("output_tokens"))),
        attributes=facts,
    )


def _output(choice: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    message = choice.get("message")
    if isinstance(choice.get("text"), str):  # Completions
        return _text(choice["text"])
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
