"""A chat completion request, checked: every field is honoured, neutral, or refused. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.connectors.engines import InvalidRequest, SamplingParameters
from headrace.connectors.gateway.errors import BadRequest

# They say who asks, or how it is billed and stored: the completion is the same without them.
IGNORED = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
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
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "min_p": (0,),
    "modalities": (["text"],),
    "n": (1,),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "stream": (False,),
    "stream_options": (),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
HONOURED = frozenset(
    {
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "seed",
        "stop",
        "temperature",
        "top_k",
        "top_p",
    }
)
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
MAX_TEMPERATURE = 2.0
MIN_TEMPERATURE = 0.01
MAX_STOPS = 16
_INT32 = 2**31
_INT64 = 2**63


@dataclass(kw_only=True, slots=True, frozen=True)
class ChatRequest:
    """What is asked of the engine."""

    messages: list[dict[str, str]]
    sampling: SamplingParameters
    logprobs: bool


def model_of(body: Mapping[str, Any]) -> str:
    """The model that a request names; raises BadRequest."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("model must be the name of a model", param="model")
    return model


def refuse_streaming(body: Mapping[str, Any]) -> None:
    """Raise BadRequest if the request wants its answer as a stream."""
    if body.get("stream"):
        raise BadRequest(
            "stream: true is not served yet: send stream: false", param="stream", code="unsupported"
        )


def check_messages(body: Mapping[str, Any], max_messages: int) -> list[Any]:
    """The request's messages, not looked into; raises BadRequest."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list of at least one message", param="messages")
    if len(messages) > max_messages:
        raise BadRequest(
            f"messages has {len(messages)} entries: give up to {max_messages} "
            "([gateway] max_messages)",
            param="messages",
        )
    return messages


def parse_chat_request(
    body: Mapping[str, Any], *, max_messages: int, default_max_tokens: int
) -> ChatRequest:
    """Check a request and read what the engine needs of it.

    Raises:
        BadRequest: a field is malformed, unknown, or asks for what this engine does not do; the
            message and `param` name it.
    """
    _refuse_unserved(body)
    return ChatRequest(
        messages=[
            _message(message, f"messages[{i}]")
            for i, message in enumerate(check_messages(body, max_messages))
        ],
        sampling=_sampling(body, default_max_tokens),
        logprobs=_flag(body, "logprobs"),
    )


def _refuse_unserved(body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        if name in HONOURED or name in IGNORED or value is None:
            continue
        if name not in NEUTRAL:
            raise BadRequest(
                f"{name} is not a field that this server knows", param=name, code="unknown_field"
            )
        if not any(_same(value, neutral) for neutral in NEUTRAL[name]):
            raise BadRequest(
                f"{name} is not supported by this engine: leave it out",
                param=name,
                code="unsupported",
            )


def _same(value: Any, neutral: Any) -> bool:
    # True == 1 and False == 0 in Python, not in JSON.
    return bool(value == neutral) and isinstance(value, bool) == isinstance(neutral, bool)


def _sampling(body: Mapping[str, Any], default_max_tokens: int) -> SamplingParameters:
    temperature = _number(body, "temperature", 1.0)
    if temperature > MAX_TEMPERATURE or 0 < temperature < MIN_TEMPERATURE:
        raise BadRequest(
            f"temperature is {temperature}: give 0, or {MIN_TEMPERATURE} to {MAX_TEMPERATURE}",
            param="temperature",
        )
    most = "max_tokens" if body.get("max_completion_tokens") is None else "max_completion_tokens"
    top_k = _integer(body, "top_k", 0, -1, _INT32)
    seed = None if body.get("seed") is None else _integer(body, "seed", 0, 0, _INT64)
    try:
        return SamplingParameters(
            temperature=temperature,
            top_p=_number(body, "top_p", 1.0),
            top_k=max(top_k, 0),  # -1 is how others switch it off
            seed=seed,
            max_tokens=_integer(body, most, default_max_tokens, 1, _INT32),
            stop=_stop(body),
        )
    except InvalidRequest as error:
        raise BadRequest(str(error), param=str(error).partition(" ")[0]) from error


def _number(body: Mapping[str, Any], name: str, default: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"{name} must be a number", param=name)
    return float(value)


def _integer(body: Mapping[str, Any], name: str, default: int, least: int, end: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < end:
        raise BadRequest(f"{name} must be an integer from {least} to {end - 1}", param=name)
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false", param=name)
    return bool(value)


def _stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    value = body.get("stop")
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise BadRequest("stop must be a string or a list of strings", param="stop")
    if len(stops) > MAX_STOPS:
        raise BadRequest(f"stop has {len(stops)} entries: give up to {MAX_STOPS}", param="stop")
    return tuple(stops)


def _message(message: Any, where: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise BadRequest(f"{where} must be an object", param=where)
    role = message.get("role")
    if role in ("tool", "function"):
        raise BadRequest(
            f"{where} has the role {role}: tools are not supported by this engine, send the "
            "result in a user message",
            param=f"{where}.role",
            code="unsupported",
        )
    if not isinstance(role, str) or role not in ROLES:
        raise BadRequest(f"{where}.role must be one of {', '.join(ROLES)}", param=f"{where}.role")
    for name, value in message.items():
        if name not in ("role", "content", "name") and value not in (None, [], {}):
            raise BadRequest(
                f"{where}.{name} is not supported by this engine: leave it out",
                param=f"{where}.{name}",
                code="unsupported",
            )
    read = {"role": ROLES[role], "content": _content(message.get("content"), f"{where}.content")}
    if message.get("name") is not None:
        if not isinstance(message["name"], str):
            raise BadRequest(f"{where}.name must be a string", param=f"{where}.name")
        read["name"] = message["name"]
    return read


def _content(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRequest(f"{where} must be a string or a list of text parts", param=where)
    for i, part in enumerate(content):
        if (
            not isinstance(part, dict)
            or part.get("type") != "text"
            or not isinstance(part.get("text"), str)
        ):
            raise BadRequest(
                f"{where}[{i}] must be a text part: this engine reads text only",
                param=f"{where}[{i}]",
            )
    return "".join(part["text"] for part in content)
