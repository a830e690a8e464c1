"""POST /v1/feedback: what a user thinks of an answer, or of an episode, becomes a reward."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headrace.connectors.clickhouse import ClickHouseError
from headrace.connectors.feedback import (
    SOURCE,
    BadFeedback,
    Feedback,
    NobodyKnows,
    NotYet,
    Place,
    place_of_episode,
    search_episode,
    search_response,
)
from headrace.connectors.gateway.bodies import read_json
from headrace.connectors.gateway.correlation import Correlation, correlate
from headrace.connectors.gateway.correlation.clients import client_of
from headrace.connectors.gateway.dialects.fields import text
from headrace.connectors.gateway.errors import (
    BadRequest,
    CallNotDurable,
    NothingOnRecord,
    NotReady,
)
from headrace.connectors.gateway.state import GatewayState, state_of
from headrace.connectors.gateway.timing import Deadline
from headrace.connectors.kafka import KafkaClientError

_TARGETS = ("episode", "call")


async def feedback(request: Request) -> Response:
    """Answer once the reward is durable."""
    state = state_of(request)
    deadline = Deadline.after(state.config.request_timeout_s)
    with state.place(client_of(request)):
        here = correlate(request)
        body = await deadline.reading(read_json(request, state.config.max_body_bytes))
        return await deadline.answering(_given(state, here, body))


async def _given(state: GatewayState, here: Correlation, body: Mapping[str, Any]) -> Response:
    try:
        given = Feedback(
            name=text(body, "name"),
            value=_value(body),
            source=text(body, "source", default=SOURCE),
            id=text(body, "id", default=""),
        )
        target = text(body, "target", default="episode")
        place = await _place(state, here, body)
    except BadFeedback as error:
        raise BadRequest(str(error), param=error.field) from error
    except NobodyKnows as error:
        raise NothingOnRecord(str(error)) from error
    except NotYet as error:
        raise NotReady(str(error)) from error
    except (ClickHouseError, KafkaClientError) as error:
        raise NotReady(f"what the feedback is about cannot be looked up now: {error}") from error
    if target not in _TARGETS or (target == "call" and not place.span_id):
        raise BadRequest("target must be episode, or call with a response_id", param="target")
    span = given.span(place, of_call=target == "call")
    try:
        await state.record([span])
    except CallNotDurable as error:
        raise CallNotDurable("the feedback is on no record: send it again") from error
    return JSONResponse(
        {
            "object": "feedback",
            "id": span.span_id,
            "project": place.project,
            "episode": place.episode,
            "target": target,
            "name": given.name,
            "value": given.value,
        }
    )


def _value(body: Mapping[str, Any]) -> float:
    value = body.get("value")
    if not isinstance(value, bool | int | float):
        raise BadFeedback("value", "must be a number, or true or false")
    try:
        return float(value)
    except OverflowError:
        raise BadFeedback("value", "must be a finite number") from None


async def _place(state: GatewayState, here: Correlation, body: Mapping[str, Any]) -> Place:
    response_id, episode = (text(body, name, default="") for name in ("response_id", "episode"))
    if response_id and not episode:
        if (answered := state.answered.find(here.project, response_id)) is not None:
            return answered
        return await search_response(state.places, state.unread, here.project, response_id).afind()
    if episode and not response_id:
        place = place_of_episode(here.project, episode)
    elif here.in_rollout and not response_id:
        place = Place(project=here.project, rollout_id=here.rollout_id, attempt=here.attempt)
    else:
        raise BadFeedback(
            "response_id", "or episode (ROLLOUT/ATTEMPT): give one of them, and not both"
        )
    return await search_episode(state.places, state.unread, place).afind()
