"""OpenAI's API of chat completions: POST /v1/chat/completions."""

from headrace.connectors.gateway.dialects.chat.dialect import Chat

__all__ = ["Chat"]
