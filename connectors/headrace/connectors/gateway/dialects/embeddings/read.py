"""A request of the Embeddings API, checked. Pure.

https://platform.openai.com/docs/api-reference/embeddings/create
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.connectors.engines.embeddings import Text
from headrace.connectors.gateway.dialects.fields import (
    INT32,
    integer,
    model_of,
    text,
    unknown_fields,
)
from headrace.connectors.gateway.errors import BadRequest

HONOURED = frozenset({"dimensions", "encoding_format", "input", "model"})
IGNORED = frozenset({"user"})
MAX_INPUTS = 2048


@dataclass(kw_only=True, slots=True, frozen=True)
class EmbeddingsRequest:
    """A request."""

    model: str
    inputs: tuple[Text, ...]
    dimensions: int
    """Wanted of the vectors; 0: as the model has them."""
    base64: bool
    """Whether vectors go as base64 of little-endian float32."""


def read(body: Mapping[str, Any]) -> EmbeddingsRequest:
    """What a request asks for; raises BadRequest."""
    unknown_fields(body, honoured=HONOURED, ignored=IGNORED, neutral={})
    form = text(body, "encoding_format", default="float")
    if form not in ("float", "base64"):
        raise BadRequest("encoding_format must be float or base64", param="encoding_format")
    return EmbeddingsRequest(
        model=model_of(body),
        inputs=_inputs(body.get("input")),
        dimensions=integer(body, "dimensions", 0, 1),
        base64=form == "base64",
    )


def _inputs(given: Any) -> tuple[Text, ...]:
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list) or not given:
        raise BadRequest(
            "input must be a string, a list of strings, token ids, or lists of token ids",
            param="input",
        )
    if all(_is_token(one) for one in given):
        given = [given]
    if len(given) > MAX_INPUTS:
        raise BadRequest(f"input has {len(given)} entries: give up to {MAX_INPUTS}", param="input")
    return tuple(_input(one, f"input[{i}]") for i, one in enumerate(given))


def _input(one: Any, where: str) -> Text:
    if isinstance(one, str) and one:
        return one
    if isinstance(one, list) and one and all(_is_token(token) for token in one):
        return tuple(one)
    raise BadRequest(f"{where} must be a string or a list of token ids, and not empty", param=where)


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < INT32
