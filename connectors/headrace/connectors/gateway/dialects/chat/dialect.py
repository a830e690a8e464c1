"""The Chat Completions API as a dialect. Pure."""

from collections.abc import Mapping
from typing import Any

from headrace.connectors.gateway.dialects.base import Asking, Head, Reading
from headrace.connectors.gateway.dialects.chat.read import read
from headrace.connectors.gateway.dialects.chat.stream import ChatWriter
from headrace.connectors.gateway.dialects.fields import flag, one_object
from headrace.connectors.gateway.dialects.sse import Sse
from headrace.connectors.gateway.errors import ApiError


class Chat:
    """https://platform.openai.com/docs/api-reference/chat"""

    operation = "chat"
    id_prefix = "chatcmpl-"
    path = "chat/completions"

    def read(self, body: Mapping[str, Any], reading: Reading) -> Asking:
        """What a request asks for; raises BadRequest."""
        ask = read(
            body,
            max_messages=reading.max_messages,
            default_max_tokens=reading.default_max_tokens,
        )
        options = one_object(body, "stream_options")
        with_usage = flag(options, "include_usage", where="stream_options.")
        with_ids = flag(body, "return_token_ids")

        def writer(head: Head) -> ChatWriter:
            return ChatWriter(
                head,
                with_usage=with_usage,
                with_ids=with_ids,
                with_logprobs=ask.logprobs is not None,
            )

        return Asking(asks=(ask,), streams=ask.streams, writer=writer)

    def error(self, failure: ApiError) -> Mapping[str, Any]:
        """An error as OpenAI's clients read it."""
        return failure.body()

    def broke_off(self, failure: ApiError) -> Sse:
        """The event of an error in the midst of an upstream's stream."""
        return Sse(data=failure.body())
