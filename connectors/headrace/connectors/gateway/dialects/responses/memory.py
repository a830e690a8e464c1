"""Answers that can be asked for again and gone on from, in bounded memory. Pure.

They live as long as the process, and no longer than others are asked for more recently.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from headrace.connectors.gateway.dialects.responses.items import Item
from headrace.connectors.gateway.dialects.responses.read import ResponsesRequest
from headrace.connectors.gateway.dialects.responses.write import response_of_item
from headrace.connectors.gateway.errors import ApiError


class ResponseNotFound(ApiError):
    """No such answer: it was not stored, it was deleted, or others took its place."""

    status = 404
    type = "invalid_request_error"
    code = "response_not_found"


@dataclass(kw_only=True, slots=True, frozen=True)
class StoredResponse:
    """An answer, and what it takes to go on from it."""

    response: Mapping[str, Any]
    """As it was answered."""
    items: tuple[Item, ...]
    """Of its request."""
    conversation: tuple[Item, ...]
    """All items up to its own output, which is the last."""
    size: int
    """Bytes of its conversation, about."""

    @classmethod
    def of(
        cls, response: Mapping[str, Any], request: ResponsesRequest, before: Self | None
    ) -> Self:
        """An answer to a request that went on from another."""
        own = len(json.dumps([request.items, response]))
        return cls(
            response=response,
            items=request.items,
            conversation=request.conversation,
            size=own + (before.size if before else 0),
        )

    def whole(self) -> tuple[Item, ...]:
        """The conversation up to here, its own output included."""
        return (*self.conversation, *self.response["output"])


class ResponseMemory:
    """The answers of one gateway; the one that was asked for longest ago goes first.

    A scope keeps the attempts of agents apart: what one was answered, another cannot name.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, str], StoredResponse] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes of all of them, about; what two share is counted twice."""
        return self._bytes

    def keep(self, scope: str, stored: StoredResponse) -> None:
        """Remember an answer, unless it alone is larger than all may be."""
        if stored.size > self._max_bytes:
            return
        key = (scope, stored.response["id"])
        self._drop(key)
        self._kept[key] = stored
        self._bytes += stored.size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def get(self, scope: str, identity: str, param: str | None = None) -> StoredResponse:
        """An answer by its id.

        Raises:
            ResponseNotFound: it is not here; `param` is the field that named it.
        """
        stored = self._kept.get((scope, identity))
        if stored is None:
            raise ResponseNotFound(
                f"the response {identity[:128]!r} is not known here: it was not stored, or has "
                "made room for later ones ([gateway] responses_memory_bytes): send the "
                "conversation itself",
                param=param,
            )
        self._kept.move_to_end((scope, identity))
        return stored

    def item(self, scope: str, item: str) -> Item | None:
        """An item of an answer by its id, if it is here."""
        stored = self._kept.get((scope, response_of_item(item)))
        if stored is None:
            return None
        return next((one for one in stored.response["output"] if one["id"] == item), None)

    def forget(self, scope: str, identity: str) -> None:
        """Remove an answer; raises ResponseNotFound."""
        self.get(scope, identity)
        self._drop((scope, identity))

    def _drop(self, key: tuple[str, str]) -> None:
        if (stored := self._kept.pop(key, None)) is not None:
            self._bytes -= stored.size
