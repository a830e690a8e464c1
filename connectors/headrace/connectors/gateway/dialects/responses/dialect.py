"""The Responses API as a dialect: a request may go on from an answer that is remembered."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from headrace.connectors.gateway.conversation import Ask
from headrace.connectors.gateway.dialects.base import Asking, Reading
from headrace.connectors.gateway.dialects.responses.memory import StoredResponse
from headrace.connectors.gateway.dialects.responses.read import (
    ResponsesRequest,
    previous_of,
    read,
)
from headrace.connectors.gateway.dialects.responses.stream import ResponseWriter
from headrace.connectors.gateway.dialects.sse import Sse, typed
from headrace.connectors.gateway.errors import ApiError
from headrace.schemas.ids import span_of_response


class Responses:
    """OpenAI's Responses API."""

    operation = "chat"
    id_prefix = "resp_"
    path = "responses"

    def read(self, body: Mapping[str, Any], reading: Reading) -> Asking:
        """What a request asks for.

        Raises:
            BadRequest: it is malformed, or asks for what is not served.
            ResponseNotFound: the answer that it goes on from is not known (any more).
        """
        memory, scope = reading.responses, reading.scope
        request, before = read_request(body, reading)

        def keep(response: Mapping[str, Any]) -> None:
            if request.store:
                memory.keep(scope, StoredResponse.of(response, request, before))

        return Asking(
            asks=(request.ask,),
            streams=request.ask.streams,
            previous=span_of_response(previous_of(body) or ""),
            writer=partial(ResponseWriter, repeated=request.repeated, keep=keep),
        )

    def error(self, failure: ApiError) -> Mapping[str, Any]:
        """An error's JSON."""
        return failure.body()

    def broke_off(self, failure: ApiError) -> Sse:
        """The event of an error in the midst of an upstream's stream."""
        return typed("error", code=failure.code, message=failure.message, param=failure.param)


def read_request(
    body: Mapping[str, Any], reading: Reading
) -> tuple[ResponsesRequest, StoredResponse | None]:
    """A request, and the answer that it goes on from; raises as `Responses.read`."""
    memory, scope = reading.responses, reading.scope
    previous = previous_of(body)
    before = memory.get(scope, previous, "previous_response_id") if previous else None
    request = read(
        body,
        earlier=tuple(map(reading.seen, before.whole())) if before else (),
        recall=lambda item: reading.seen(memory.item(scope, item)),
        max_messages=reading.max_messages,
        default_max_tokens=reading.default_max_tokens,
    )
    return request, before


def read_counted(body: Mapping[str, Any], reading: Reading) -> Ask:
    """The conversation of which a request wants to know the tokens; raises as `Responses.read`."""
    return read_request(body, reading)[0].ask
