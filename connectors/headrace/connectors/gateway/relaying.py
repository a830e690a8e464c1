"""Requests for an upstream: passed on untouched, and their telemetry kept."""

import time
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from headrace.connectors.gateway.calls import IncomingCall, completed_span
from headrace.connectors.gateway.state import GatewayState


async def relay(
    state: GatewayState, asked: IncomingCall, path: str, body: Mapping[str, Any]
) -> Response:
    """What the upstream answers, an error of its own included.

    Raises:
        CallFailed: the upstream did not answer.
        CallNotDurable: the call could not be recorded.
    """
    relayed = await state.forwarder.forward(asked, path, body)
    state.metrics.completed(relayed.call)
    await state.record([completed_span(asked, relayed.call, time.time_ns())])
    return Response(relayed.body, relayed.status, media_type=relayed.media_type)
