"""The gateway as an ASGI application."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.connectors.gateway.access import LocalOnly, RequireKey
from headrace.connectors.gateway.correlation import PREFIXES
from headrace.connectors.gateway.dialects.chat import Chat
from headrace.connectors.gateway.dialects.completions.dialect import Completions
from headrace.connectors.gateway.dialects.errors import on_api_error, on_bug, on_http_error
from headrace.connectors.gateway.dialects.messages.dialect import Messages
from headrace.connectors.gateway.dialects.responses.dialect import Responses
from headrace.connectors.gateway.endpoints.counting import count_messages, count_responses
from headrace.connectors.gateway.endpoints.embeddings import embeddings
from headrace.connectors.gateway.endpoints.feedback import feedback
from headrace.connectors.gateway.endpoints.models import get_model, list_models
from headrace.connectors.gateway.endpoints.serve import endpoint
from headrace.connectors.gateway.endpoints.stored_responses import (
    delete_response,
    get_response,
    list_input_items,
)
from headrace.connectors.gateway.errors import ApiError
from headrace.connectors.gateway.health import healthz, metrics
from headrace.connectors.gateway.metrics import Measured
from headrace.connectors.gateway.request_ids import RequestIds
from headrace.connectors.gateway.state import GatewayState


def create_app(state: GatewayState) -> Starlette:
    """The application of one gateway; who makes it also starts and closes the parts of `state`."""
    routes = [Route("/healthz", healthz), Route("/metrics", metrics)]
    for prefix in PREFIXES:
        routes += [
            Route(f"{prefix}/v1/chat/completions", endpoint(Chat()), methods=["POST"]),
            Route(f"{prefix}/v1/completions", endpoint(Completions()), methods=["POST"]),
            Route(f"{prefix}/v1/messages", endpoint(Messages()), methods=["POST"]),
            Route(f"{prefix}/v1/messages/count_tokens", count_messages, methods=["POST"]),
            Route(f"{prefix}/v1/responses", endpoint(Responses()), methods=["POST"]),
            Route(f"{prefix}/v1/responses/input_tokens", count_responses, methods=["POST"]),
            Route(f"{prefix}/v1/responses/{{response_id}}", get_response, methods=["GET"]),
            Route(f"{prefix}/v1/responses/{{response_id}}", delete_response, methods=["DELETE"]),
            Route(f"{prefix}/v1/responses/{{response_id}}/input_items", list_input_items),
            Route(f"{prefix}/v1/feedback", feedback, methods=["POST"]),
            Route(f"{prefix}/v1/embeddings", embeddings, methods=["POST"]),
            Route(f"{prefix}/v1/models", list_models),
            Route(f"{prefix}/v1/models/{{model:path}}", get_model),
        ]
    keys = state.config.projects_of_keys
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(RequestIds),
            Middleware(AnySlash),
            Middleware(Measured, metrics=state.metrics),
            Middleware(RequireKey, keys=keys) if keys else Middleware(LocalOnly),
        ],
        exception_handlers={
            ApiError: on_api_error,
            HTTPException: on_http_error,
            Exception: on_bug,
        },
    )
    # A redirect drops the body of a POST: a path with a slash at its end is the path without.
    app.router.redirect_slashes = False
    app.state.gateway = state
    return app


class AnySlash:
    """ASGI middleware: `/v1/models/` is `/v1/models`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self._app(scope, receive, send)
