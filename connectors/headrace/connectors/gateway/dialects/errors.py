"""Errors on the wire."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from headrace.connectors.gateway.dialects.messages.write import error as messages_error
from headrace.connectors.gateway.errors import ApiError

logger = logging.getLogger(__name__)

SERVED = (
    "chat/completions, completions, responses, messages, embeddings and models, under /v1, "
    "/rollout/{rollout_id}/attempt/{attempt}/v1 or "
    "/p/{project}/rollout/{rollout_id}/attempt/{attempt}/v1"
)


def error_response(error: ApiError, body: Mapping[str, Any] | None = None) -> Response:
    """The response of an error; `body` is its JSON in the API's own form, by default OpenAI's."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    told = json.dumps(error.body() if body is None else body, ensure_ascii=False)
    return Response(
        told.encode(errors="replace"), error.status, headers, media_type="application/json"
    )


async def on_api_error(request: Request, error: Exception) -> Response:
    """Handler of ApiError raised before a dialect had the request."""
    assert isinstance(error, ApiError)
    return error_response(error, own_form(request.url.path, error))


async def on_http_error(request: Request, error: Exception) -> Response:
    """Handler of the router's own errors: no such path, no such method."""
    assert isinstance(error, HTTPException)
    answer = ApiError(
        f"{request.method} {request.url.path}: {error.detail}. Served: {SERVED}",
        code="unknown_url",
    )
    answer.type, answer.status = "invalid_request_error", error.status_code
    response = error_response(answer, own_form(request.url.path, answer))
    response.headers.update(error.headers or {})
    return response


async def on_bug(request: Request, error: Exception) -> Response:
    """Handler of everything else; the server logs the traceback."""
    answer = ApiError(f"the gateway failed on this request: {type(error).__name__}")
    return error_response(answer, own_form(request.url.path, answer))


def own_form(path: str, error: ApiError) -> Mapping[str, Any] | None:
    """An error's JSON where the API of a path has another form than OpenAI's."""
    return messages_error(error) if "/v1/messages" in path else None
