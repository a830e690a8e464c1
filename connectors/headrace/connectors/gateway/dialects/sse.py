"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(kw_only=True, slots=True, frozen=True)
class Sse:
    """One event of a stream."""

    data: Mapping[str, Any] | str
    """JSON; a string is sent as it is."""
    name: str = ""
    """Its `event` field; empty: none."""

    def encode(self) -> bytes:
        """As it goes over the wire."""
        # JSON escapes line ends, so the data is one line.
        told = (
            self.data
            if isinstance(self.data, str)
            else json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))
        )
        named = f"event: {self.name}\n" if self.name else ""
        return f"{named}data: {told}\n\n".encode()


def typed(kind: str, **data: Any) -> Sse:
    """An event whose `type` is also its name, as Anthropic and the Responses API send them."""
    return Sse(data={"type": kind, **data}, name=kind)
