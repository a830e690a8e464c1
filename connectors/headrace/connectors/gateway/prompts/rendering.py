"""A conversation as text, tools included, by whatever the model's template can. Pure."""

from collections.abc import Sequence

from headrace.connectors.engines import Engine, InvalidRequest
from headrace.connectors.gateway.conversation import (
    Message,
    Tool,
    template_messages,
    template_tools,
)
from headrace.connectors.gateway.errors import BadRequest
from headrace.connectors.gateway.tools import ToolFormat, format_of, prompted, with_ids_of


class Rendering:
    """The chat template of an engine's model, and its format of tool calls."""

    def __init__(self, engine: Engine, tool_format: str = "auto") -> None:
        """tool_format: a name of `FORMATS`, or auto."""
        self._engine = engine
        self.format: ToolFormat
        self.format, self._template_has_tools = format_of(engine.chat_template, tool_format)
        opening = engine.encode(self.format.opening)
        self.opening_id = opening[0] if len(opening) == 1 else None
        """The token that stands for the format's opening; None: several do."""

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end a completion."""
        return self._engine.end_ids

    def text(self, messages: Sequence[Message], tools: Sequence[Tool]) -> str:
        """A conversation up to where the answer begins.

        Raises:
            BadRequest: the template refuses these messages.
        """
        try:
            if self._template_has_tools:
                named = template_messages(with_ids_of(self.format, messages))
                return self._engine.render(named, template_tools(tools))
            plain = prompted(messages, tools, self.format)
            return self._engine.render(template_messages(plain))
        except InvalidRequest as error:
            raise BadRequest(
                f"the model's chat template refuses these messages: {error}", param="messages"
            ) from error

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of text; special tokens in it are taken as such."""
        return self._engine.encode(text)
