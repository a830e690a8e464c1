"""What is kept of answers: GET and DELETE /v1/responses/{id}, GET …/input_items."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headrace.connectors.gateway.correlation import correlate
from headrace.connectors.gateway.dialects.fields import unsupported
from headrace.connectors.gateway.dialects.responses.memory import StoredResponse
from headrace.connectors.gateway.errors import BadRequest
from headrace.connectors.gateway.state import state_of

_MOST, _DEFAULT = 100, 20


async def get_response(request: Request) -> Response:
    """One answer, as it was given."""
    if request.query_params.get("stream") == "true":
        raise unsupported("stream", "of a response that is whole", "leave it out")
    return JSONResponse(_stored(request).response)


async def delete_response(request: Request) -> Response:
    """Forget one."""
    identity = request.path_params["response_id"]
    state_of(request).responses.forget(correlate(request).scope, identity)
    return JSONResponse({"id": identity, "object": "response", "deleted": True})


async def list_input_items(request: Request) -> Response:
    """The items of its request, the latest first unless asked otherwise."""
    return JSONResponse(page_of(_stored(request), request.query_params))


def page_of(stored: StoredResponse, query: Mapping[str, str]) -> dict[str, Any]:
    """A page of the items of a request; raises BadRequest."""
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise BadRequest("order must be asc or desc", param="order")
    suffix = str(stored.response["id"]).removeprefix("resp_")
    items = [
        {**item, "id": item.get("id") or f"item_{suffix}_{i}"}
        for i, item in enumerate(stored.items)
    ]
    if order == "desc":
        items.reverse()
    if (after := query.get("after")) is not None:
        places = [i for i, item in enumerate(items) if item["id"] == after]
        if not places:
            raise BadRequest(f"after names no item: {after[:128]!r}", param="after")
        items = items[places[0] + 1 :]
    limit = _limit(query.get("limit"))
    page = items[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(items) > limit,
    }


def _limit(given: str | None) -> int:
    if given is None:
        return _DEFAULT
    if not given.isdecimal() or not given.isascii() or not 1 <= int(given[:9]) <= _MOST:
        raise BadRequest(f"limit must be a number from 1 to {_MOST}", param="limit")
    return int(given)


def _stored(request: Request) -> StoredResponse:
    identity = request.path_params["response_id"]
    return state_of(request).responses.get(correlate(request).scope, identity)
