"""What a span of a model call says: whose it is, and how it was sampled. Pure."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from headrace.connectors.mapping.conventions import conventions
from headrace.connectors.mapping.facts import Facts
from headrace.connectors.mapping.texts import short
from headrace.schemas import Call
from headrace.schemas.ids import RESPONSE_ID, span_of_response
from headrace.schemas.vocabulary import SpanStatus, Untrainable

_INSIDE = re.compile(rf'\\?"id\\?"\s*:\s*\\?"({RESPONSE_ID})\\?"')
_MOST_JSON = 1_000_000
_INT32, _INT64 = (1 << 31) - 1, (1 << 63) - 1
_NO_IDS = np.empty(0, dtype="<u4")
_NO_LOGPROBS = np.empty(0, dtype="<f4")


def response_of(facts: Facts) -> str:
    """The id of the response: an attribute, or inside of the output's JSON; '' for none."""
    told = facts.fields.get("response_id")
    if told:
        return short(told)
    output = facts.fields.get("output")
    if not isinstance(output, str) or '"id' not in output.replace("\\", ""):
        return ""
    if found := _INSIDE.search(output):
        return str(found[1])
    return short(_parsed(output).get("id", ""))


def is_gateways(response: str) -> bool:
    """Whether the gateway answered: then its own span has the tokens."""
    return span_of_response(response) != ""


def context_call(facts: Facts, response: str) -> Call:
    """The block of a `call.context`: which call it is about, and of which model."""
    return _call(model=short(facts.fields.get("model")), response_id=response)


def foreign_call(facts: Facts, response: str, status: str) -> Call:
    """The block of a call that another server answered: nobody has its tokens."""
    told = {**_parameters(facts.fields.get("parameters")), **facts.fields}
    reason = told.get("finish_reason")
    if isinstance(reason, list | tuple):
        reason = reason[0] if reason else ""
    seed = told.get("seed")
    failed = status == SpanStatus.ERROR
    return _call(
        model=short(told.get("model")),
        response_id=response,
        temperature=_number(told.get("temperature")),
        top_p=_number(told.get("top_p")),
        top_k=_count(told.get("top_k")),
        seed=seed if isinstance(seed, int) and 0 <= seed <= _INT64 else None,
        max_tokens=_count(told.get("max_tokens")),
        finish_reason=short(reason),
        untrainable_reason=Untrainable.CALL_FAILED if failed else Untrainable.NO_TOKENS,
    )


def _call(**facts: Any) -> Call:
    return Call(prompt_ids=_NO_IDS, sampled_ids=_NO_IDS, logprobs=_NO_LOGPROBS, **facts)


def _parameters(value: Any) -> dict[str, Any]:
    given = value if isinstance(value, Mapping) else _parsed(value)
    names = conventions().parameters
    found = {what: next((given[n] for n in of if n in given), None) for what, of in names.items()}
    return {what: one for what, one in found.items() if one is not None}


def _parsed(value: Any) -> dict[str, Any]:
    """A JSON object; nothing for what is none."""
    if not isinstance(value, str) or len(value) > _MOST_JSON or not value.lstrip().startswith("{"):
        return {}
    try:
        made = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return made if isinstance(made, dict) else {}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> float:
    """A sampling parameter; 1, as servers have it, where none was given."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) and abs(value) < 1e6 else 1.0


def _count(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # conventions have had top_k as a double
    return int(value) if _is_int(value) and 0 <= value <= _INT32 else 0
