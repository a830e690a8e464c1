"""Fields of a request's JSON, read and checked. Pure; what every API's reader shares.

A field that cannot change the completion is accepted; one that would and cannot be honoured is
refused by name; one that nobody knows is noted.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from headrace.connectors.engines import Constraint, InvalidRequest, SamplingParameters
from headrace.connectors.gateway.errors import BadRequest

MAX_TEMPERATURE = 2.0
MIN_TEMPERATURE = 0.01
MAX_PENALTY, MAX_BIAS = 2.0, 100.0
MAX_STOPS = 16
MAX_TOP_LOGPROBS = 20
INT32 = 2**31
INT64 = 2**63
_MAX_NUMBER = 1e15
_MAX_NOTED, _MAX_NAME = 16, 64

Neutral = Mapping[str, tuple[Any, ...]]
"""By field: the values beside null that ask for nothing."""


def unknown_fields(
    body: Mapping[str, Any],
    *,
    honoured: Collection[str],
    ignored: Collection[str],
    neutral: Neutral,
    where: str = "",
) -> tuple[str, ...]:
    """Names of fields that nobody knows: sorted, and no more or longer than a span should hold.

    Args:
        where: the path of the object, for errors.

    Raises:
        BadRequest: a field asks for what is not served; `param` names it.
    """
    unknown = []
    for name, value in body.items():
        if name in honoured or name in ignored or value is None:
            continue
        if name not in neutral:
            unknown.append(name[:_MAX_NAME])
        elif not any(_same(value, one) for one in neutral[name]):
            raise unsupported(f"{where}{name}")
    return tuple(sorted(unknown)[:_MAX_NOTED])


def unsupported(name: str, what: str = "", instead: str = "leave it out") -> BadRequest:
    """The error of a field, or of what it asks for, that is known and not served."""
    said = f"{name} {what}".strip()
    return BadRequest(
        f"{said} is not supported by this server: {instead}", param=name, code="unsupported"
    )


def text(body: Mapping[str, Any], name: str, where: str = "", *, default: str | None = None) -> str:
    """A string; `where` is the path of the object that holds it. Raises BadRequest."""
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise BadRequest(f"{where}{name} must be a string", param=f"{where}{name}")
    return value


def model_of(body: Mapping[str, Any]) -> str:
    """The model that a request names; raises BadRequest."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("model must be the name of a model", param="model")
    return model


def number(body: Mapping[str, Any], name: str, default: float) -> float:
    """A number that a float can hold; raises BadRequest."""
    value = body.get(name)
    if value is None:
        return default
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        raise BadRequest(f"{name} must be a number", param=name)
    return float(value)


def integer(
    body: Mapping[str, Any], name: str, default: int, least: int = 0, end: int = INT32
) -> int:
    """An integer from `least` to below `end`; raises BadRequest."""
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < end:
        raise BadRequest(f"{name} must be an integer from {least} to {end - 1}", param=name)
    return value


def flag(body: Mapping[str, Any], name: str, default: bool = False, where: str = "") -> bool:
    """True or false; raises BadRequest."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadRequest(f"{where}{name} must be true or false", param=f"{where}{name}")
    return value


def objects(body: Mapping[str, Any], name: str, where: str = "") -> list[dict[str, Any]]:
    """A list of objects, empty where there is none; raises BadRequest."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRequest(f"{where}{name} must be a list", param=f"{where}{name}")
    for i, one in enumerate(value):
        if not isinstance(one, dict):
            raise BadRequest(f"{where}{name}[{i}] must be an object", param=f"{where}{name}[{i}]")
    return value


def one_object(body: Mapping[str, Any], name: str, where: str = "") -> dict[str, Any]:
    """An object, empty where there is none; raises BadRequest."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"{where}{name} must be an object", param=f"{where}{name}")
    return value


def stops(body: Mapping[str, Any], name: str = "stop") -> tuple[str, ...]:
    """Strings that end the completion: one, or a list; raises BadRequest."""
    value = body.get(name)
    given = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(stop, str) for stop in given):
        raise BadRequest(f"{name} must be a string or a list of strings", param=name)
    if len(given) > MAX_STOPS:
        raise BadRequest(f"{name} has {len(given)} entries: give up to {MAX_STOPS}", param=name)
    if "" in given:
        raise BadRequest(f"{name} holds an empty string: leave it out", param=name)
    return tuple(given)


def sampling(
    body: Mapping[str, Any],
    *,
    max_tokens: int,
    stop: Sequence[str] = (),
    adjusts: bool = False,
) -> SamplingParameters:
    """How to sample, by the fields that APIs call the same; raises BadRequest.

    Args:
        adjusts: whether the API has penalties, logit_bias and min_p.
    """
    temperature = number(body, "temperature", 1.0)
    if temperature > MAX_TEMPERATURE or 0 < temperature < MIN_TEMPERATURE:
        raise BadRequest(
            f"temperature is {temperature}: give 0, or {MIN_TEMPERATURE} to {MAX_TEMPERATURE}",
            param="temperature",
        )
    try:
        plain = SamplingParameters(
            temperature=temperature,
            top_p=number(body, "top_p", 1.0),
            top_k=max(integer(body, "top_k", 0, -1), 0),  # -1 is how others switch it off
            seed=None if body.get("seed") is None else integer(body, "seed", 0, 0, INT64),
            max_tokens=max_tokens,
            stop=tuple(stop),
        )
        return _adjusted(plain, body) if adjusts else plain
    except InvalidRequest as error:
        raise BadRequest(str(error), param=str(error).partition(" ")[0]) from error


def _adjusted(plain: SamplingParameters, body: Mapping[str, Any]) -> SamplingParameters:
    return replace(
        plain,
        min_p=number(body, "min_p", 0.0),
        frequency_penalty=_between(body, "frequency_penalty", MAX_PENALTY),
        presence_penalty=_between(body, "presence_penalty", MAX_PENALTY),
        logit_bias=tuple(
            (_token(token), _between(bias, token, MAX_BIAS, "logit_bias."))
            for bias in [one_object(body, "logit_bias")]
            for token in bias
        ),
    )


def _between(body: Mapping[str, Any], name: str, most: float, where: str = "") -> float:
    value = number(body, name, 0.0)
    if abs(value) > most:
        raise BadRequest(
            f"{where}{name[:20]} is {value}: give {-most} to {most}",
            param=where.removesuffix(".") or name,
        )
    return value


def _token(name: str) -> int:
    if not name.isascii() or not name.isdigit() or len(name) > 9:
        raise BadRequest(
            f"logit_bias names {name[:20]!r}: give token ids of the policy's own vocabulary",
            param="logit_bias",
        )
    return int(name)


def json_form(form: Mapping[str, Any], where: str) -> Constraint | None:
    """What `{"type": "text" | "json_object" | "json_schema", "schema": …}` asks of an answer.

    Raises:
        BadRequest: another type, or no schema.
    """
    kind = form.get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return Constraint(kind="json_object")
    if kind != "json_schema":
        raise BadRequest(
            f"{where}.type must be text, json_object or json_schema", param=f"{where}.type"
        )
    schema = form.get("schema")
    if not isinstance(schema, dict):
        raise BadRequest(f"{where}.schema must be a JSON schema", param=f"{where}.schema")
    return Constraint(kind="json_schema", source=json.dumps(schema, ensure_ascii=False))


def _same(value: Any, neutral: Any) -> bool:
    # True == 1 and False == 0 in Python, not in JSON.
    return bool(value == neutral) and isinstance(value, bool) == isinstance(neutral, bool)
