"""What of a call a model sees, and what of it may be kept."""

import asyncio
from dataclasses import replace
from typing import Any

from starlette.requests import Request

from headrace.connectors.gateway.conversation import Choice
from headrace.connectors.instrument.names import HIDE_HEADER
from headrace.connectors.privacy import Hidden, Privacy
from headrace.connectors.privacy.switches import from_header
from headrace.schemas.vocabulary import Untrainable

_STRUCTURE = frozenset({"model", "role", "type"})
"""Fields whose texts say what a request is; in the span they are redacted all the same."""
_LARGE = 20_000  # bytes from which on a body is redacted in a thread


class CallPrivacy:
    """The settings at work on calls."""

    def __init__(self, privacy: Privacy) -> None:
        self._privacy = privacy
        self._changes = privacy.redactor is not None and privacy.settings.model_sees == "redacted"

    async def read(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """A request's body as a model may see it: redacted before anything is made of it."""
        if not self._changes:
            return body
        length = request.headers.get("content-length", "")
        if not length.isdigit() or int(length) > _LARGE:
            return await asyncio.to_thread(self._redacted_object, body)
        return self._redacted_object(body)

    def seen(self, value: Any) -> Any:
        """JSON of an earlier answer as a model may see it again."""
        return self._redacted(value) if self._changes else value

    def hidden(self, request: Request) -> frozenset[Hidden]:
        """What the client hides of its call. It can hide more than the settings, never less."""
        return from_header(request.headers.get(HIDE_HEADER, ""))

    def forbids_tokens(
        self, project: str, hidden: frozenset[Hidden], *, has_tools: bool
    ) -> Untrainable | None:
        """Why the tokens of a call may not be kept, whatever they say; None: they may."""
        hidden = hidden | self._privacy.hidden
        if not has_tools:
            hidden -= {Hidden.TOOLS}
        if hidden or self._privacy.capture(project) != "full":
            return Untrainable.NOT_CAPTURED
        return None

    @property
    def reads_tokens(self) -> bool:
        """Whether tokens have to be looked at before they are kept."""
        return self._privacy.redactor is not None

    def spells_out(self, tokens: bytes) -> bool:
        """Whether tokens, by their bytes, spell something that is redacted."""
        return self._privacy.holds(tokens.decode(errors="replace"))

    def repeated(self, choice: Choice) -> Choice:
        """An answer as it will be in a later request, once that is redacted."""
        if not self._changes:
            return choice
        redact = self._privacy.text
        calls = [replace(call, arguments=redact(call.arguments)) for call in choice.tool_calls]
        return replace(choice, text=redact(choice.text), tool_calls=tuple(calls))

    def _redacted_object(self, given: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in given.items():
            stays = name in _STRUCTURE and isinstance(value, str)
            made[self._privacy.text(name)] = value if stays else self._redacted(value)
        return made

    def _redacted(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._privacy.text(value)
        if isinstance(value, dict):
            return self._redacted_object(value)
        return [self._redacted(one) for one in value] if isinstance(value, list) else value
