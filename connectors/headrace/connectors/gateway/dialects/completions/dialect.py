"""The Completions API as a dialect. Pure."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from headrace.connectors.gateway.dialects.base import Asking, Reading
from headrace.connectors.gateway.dialects.completions.read import read
from headrace.connectors.gateway.dialects.completions.stream import CompletionWriter
from headrace.connectors.gateway.dialects.sse import Sse
from headrace.connectors.gateway.errors import ApiError


class Completions:
    """OpenAI's API of plain completions."""

    operation = "text_completion"
    id_prefix = "cmpl-"
    path = "completions"

    def read(self, body: Mapping[str, Any], reading: Reading) -> Asking:
        """What a request asks for; raises BadRequest."""
        request = read(body, default_max_tokens=reading.default_max_tokens)
        return Asking(
            asks=request.asks,
            streams=request.asks[0].streams,
            writer=partial(
                CompletionWriter, echoed=request.echoed(), with_usage=request.with_usage
            ),
        )

    def error(self, failure: ApiError) -> Mapping[str, Any]:
        """An error's JSON."""
        return failure.body()

    def broke_off(self, failure: ApiError) -> Sse:
        """The event of an error in the midst of an upstream's stream."""
        return Sse(data=failure.body())
