"""`POST /feedback`: what somebody at the page of an episode thinks of it, through the gateway."""

import math
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from headrace.infra.console.cells import episode_path
from headrace.infra.console.failed import failed
from headrace.infra.console.gate import may, visitor_of
from headrace.infra.console.gateway import Gateway, NotTaken
from headrace.infra.console.login import TooLong, form_of
from headrace.infra.console.roles import Role

SOURCE = "console"
_AGAIN = "Go back and send it again: under the same form it counts once."


def route(gateway: Gateway) -> Route:
    """Where the form of an episode's page is sent."""
    return Route("/feedback", partial(_given, gateway), methods=["POST"])


async def _given(gateway: Gateway, request: Request) -> Response:
    if not may(request, Role.ANNOTATOR):
        said = f"it needs the role {Role.ANNOTATOR}"
        return failed(request, 403, "Your key does not give feedback", said)
    try:
        form = await form_of(request)
        project, body = _asked(form, _source(request))
        span = await run_in_threadpool(gateway.give, project, body)
    except TooLong as error:
        return PlainTextResponse(f"{error}\n", 413)
    except ValueError as error:
        return failed(request, 400, "This can be no feedback", error, _AGAIN)
    except NotTaken as error:
        title = "The feedback is on no record" if error.status != 400 else "This can be no feedback"
        return failed(request, error.status, title, error, _AGAIN)
    query = urlencode({"gave": span})
    kept = f"&{form['kept']}" if form.get("kept") else ""
    place = {"project": project, "rollout_id": form["rollout"], "attempt": form["attempt"]}
    return RedirectResponse(f"{episode_path(place)}?{query}{kept}#feedback", 303)


def _asked(form: Mapping[str, str], source: str) -> tuple[str, dict[str, object]]:
    """The project, and the feedback as the gateway takes it. Raises ValueError."""
    for name in ("project", "rollout", "attempt", "id", "name", "value"):
        if not form.get(name, "").strip():
            raise ValueError(f"{name} is missing")
    value = float(form["value"])
    if not math.isfinite(value):
        raise ValueError(f"value {form['value']} is no finite number")
    return form["project"], {
        "episode": f"{form['rollout']}/{form['attempt']}",
        "name": form["name"].strip(),
        "value": value,
        "source": source,
        "id": f"{SOURCE}-{form['id']}",
    }


def _source(request: Request) -> str:
    """Who gives it, as the reward's source says."""
    visitor = visitor_of(request)
    return f"{SOURCE}:{visitor.name}" if visitor is not None and visitor.name else SOURCE
