"""GET /v1/models and /v1/models/{model}."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headrace.connectors.gateway.errors import ModelNotFound
from headrace.connectors.gateway.state import GatewayState, state_of


async def list_models(request: Request) -> Response:
    """The policies and their versions, which can be pinned as `name@7`."""
    return JSONResponse({"object": "list", "data": _models(state_of(request))})


async def get_model(request: Request) -> Response:
    """One of them."""
    wanted = request.path_params["model"]
    for model in _models(state_of(request)):
        if model["id"] == wanted:
            return JSONResponse(model)
    raise ModelNotFound(f"the model {wanted!r} does not exist", param="model")


def _models(state: GatewayState) -> list[dict[str, Any]]:
    facts = {"object": "model", "created": 0, "owned_by": "headrace"}
    served = {one.policy: one.served for one in reversed(list(state.policies))}
    named = {one.policy: served[one.policy] for one in state.policies}
    pinned = {
        f"{one.policy}@{version}": version for one in state.policies for version in one.versions
    }
    return [{"id": name, **facts, "version": version} for name, version in (named | pinned).items()]
