"""The Messages API as a dialect. Pure."""

from collections.abc import Mapping
from typing import Any

from headrace.connectors.gateway.conversation import Ask
from headrace.connectors.gateway.dialects.base import Asking, Reading
from headrace.connectors.gateway.dialects.messages.read import read, read_count
from headrace.connectors.gateway.dialects.messages.stream import MessageWriter
from headrace.connectors.gateway.dialects.messages.write import error
from headrace.connectors.gateway.dialects.sse import Sse
from headrace.connectors.gateway.errors import ApiError


class Messages:
    """Anthropic's Messages API."""

    operation = "chat"
    id_prefix = "msg_"
    path = "messages"

    def read(self, body: Mapping[str, Any], reading: Reading) -> Asking:
        """What a request asks for; raises BadRequest."""
        ask = read(body, max_messages=reading.max_messages)
        return Asking(asks=(ask,), streams=ask.streams, writer=MessageWriter)

    def error(self, failure: ApiError) -> Mapping[str, Any]:
        """An error's JSON."""
        return error(failure)

    def broke_off(self, failure: ApiError) -> Sse:
        """The event of an error in the midst of an upstream's stream."""
        return Sse(data=error(failure), name="error")


def read_counted(body: Mapping[str, Any], reading: Reading) -> Ask:
    """The conversation of which a request wants to know the tokens; raises BadRequest."""
    return read_count(body, max_messages=reading.max_messages)
