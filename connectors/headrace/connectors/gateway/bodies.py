"""Reading a request's JSON body within bounds."""

import json
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from headrace.connectors.gateway.errors import BadRequest, BodyTooLarge, ClientGone, NotJson

MAX_DEPTH = 100
"""Of objects and lists in each other: deeper ones could be read, and then not be written again."""


async def read_json(request: Request, max_bytes: int) -> dict[str, Any]:
    """The request's body as a JSON object.

    Raises:
        NotJson: it is not declared as JSON. (A web page can send other types to a local server
            without asking; JSON it cannot.)
        BodyTooLarge: more than `max_bytes`; the rest is not read.
        BadRequest: it is no JSON object, is nested too deep, or holds text that is not Unicode.
        ClientGone: the client left while it sent.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise NotJson("send the body with the header Content-Type: application/json")
    raw = await _read(request, max_bytes)
    try:
        body = json.loads(raw, parse_constant=_refuse_constant)
        if b"\\u" in raw:  # an escape may be half of a surrogate pair, which no UTF-8 can hold
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        _check_depth(body)
    return body


def _check_depth(body: dict[str, Any]) -> None:
    level: list[dict[str, Any] | list[Any]] = [body]
    for _ in range(MAX_DEPTH):
        held = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for inner in held for one in inner if isinstance(one, dict | list)]
        if not level:
            return
    raise BadRequest(f"the body is nested more than {MAX_DEPTH} deep")


async def _read(request: Request, max_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(max_bytes)
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise ClientGone("the client left while it sent its request") from error
    return b"".join(chunks)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body is larger than {max_bytes} bytes: shorten the conversation, or raise "
        "[gateway] max_body_bytes"
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
