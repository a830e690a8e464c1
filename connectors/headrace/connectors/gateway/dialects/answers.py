"""Errors as responses in OpenAI's format."""

import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headrace.connectors.gateway.errors import ApiError

logger = logging.getLogger(__name__)


def error_response(error: ApiError) -> Response:
    """The response of an error."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


async def on_api_error(_request: Request, error: Exception) -> Response:
    """Handler of ApiError."""
    assert isinstance(error, ApiError)
    return error_response(error)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Handler of the router's own errors: no such path, no such method."""
    assert isinstance(error, HTTPException)
    answer = ApiError(
        f"{request.method} {request.url.path}: {error.detail}. Served: chat/completions and "
        "models, under /v1, /rollout/{rollout_id}/attempt/{attempt}/v1 or "
        "/p/{project}/rollout/{rollout_id}/attempt/{attempt}/v1",
        code="unknown_url",
    )
    answer.type, answer.status = "invalid_request_error", error.status_code
    response = error_response(answer)
    response.headers.update(error.headers or {})
    return response


async def on_bug(_request: Request, error: Exception) -> Response:
    """Handler of everything else; the server logs the traceback."""
    return error_response(ApiError(f"the gateway failed on this request: {type(error).__name__}"))
