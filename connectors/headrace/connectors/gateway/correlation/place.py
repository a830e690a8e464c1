"""Which attempt a call belongs to, as far as its request says: by headers, the base URL, a trace or
its API key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from headrace.connectors.gateway.correlation.clients import Client, client_of
from headrace.connectors.gateway.errors import BadRequest, WrongProject
from headrace.connectors.instrument.names import PARENT_HEADER
from headrace.schemas import InvalidId, check_id, new_ulid

PREFIXES = (
    "",
    "/rollout/{rollout_id}/attempt/{attempt}",
    "/p/{project}/rollout/{rollout_id}/attempt/{attempt}",
)
AGENT_HEADER = "x-headrace-agent"
_SPAN = re.compile(r"(?!0{16})[0-9a-f]{16}")
_HEADERS = {
    "project": ("x-headrace-project",),
    "rollout_id": ("x-headrace-rollout", "x-rollout-id"),
    "attempt": ("x-headrace-attempt", "x-attempt-id"),
}
"""Those that say where a call belongs; the clients send what `OPENAI_CUSTOM_HEADERS` holds."""
PLACE_HEADERS = tuple(header for headers in _HEADERS.values() for header in headers)
_TRACEPARENT = re.compile(
    r"[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-.*"
)
"""As W3C Trace Context 1 has it (https://www.w3.org/TR/trace-context/); any later version too."""
_MAX_AGENT = 128


@dataclass(kw_only=True, slots=True, frozen=True)
class Correlation:
    """Where a call belongs."""

    project: str
    rollout_id: str
    attempt: str
    agent: str
    parent_id: str = ""
    """Span that called; empty: not known."""
    in_rollout: bool = False
    """Whether the client named the attempt: the call is part of an episode that may be trained."""
    client: Client = field(default_factory=Client)
    is_anonymous: bool = False
    """Whether nothing says the place: the rollout is new, unless the conversation is known."""

    @property
    def scope(self) -> str:
        """Who may go on from an answer: its attempt, or all calls of a project that are in none."""
        if not self.in_rollout:
            return self.project
        return f"{self.project}/{self.rollout_id}/{self.attempt}"


def correlate(request: Request) -> Correlation:
    """Read the attempt from the headers and the path, else the trace that `traceparent` names,
    else the API key.

    A call without any is a rollout of its own. The ids of a trace are those of its other spans
    (`headrace.connectors.mapping.place_in`).

    The span that called is named by `x-headrace-parent`, which `headrace run` lets clients send.

    Raises:
        BadRequest: an id off the pattern, an agent name that is too long, two places that name
            different ids, or a rollout without its attempt.
        WrongProject: the API key is of another project.
    """
    client, said = client_of(request), _named(request)
    named, parent_id = {**client.place, **said}, ""
    project = _project(client, named)
    in_rollout = "rollout_id" in named
    if "rollout_id" not in said and (trace := _trace(request)) is not None:
        # A client may begin a trace for each request, so this is no bound of `scope`.
        here = {"rollout_id": f"trace-{trace['trace']}", "attempt": trace["trace"]}
        named, parent_id, in_rollout = {**named, **here}, trace["span"], False
    if parent := request.headers.get(PARENT_HEADER):
        if not _SPAN.fullmatch(parent):
            raise BadRequest(f"{PARENT_HEADER} must be the 16 hexadecimal digits of a span id")
        parent_id = parent
    agent = request.headers.get(AGENT_HEADER, "")
    if len(agent) > _MAX_AGENT:
        raise BadRequest(f"{AGENT_HEADER} has {len(agent)} characters: give up to {_MAX_AGENT}")
    try:
        return Correlation(
            project=check_id(project, "project"),
            rollout_id=check_id(named.get("rollout_id") or new_ulid(), "rollout_id"),
            attempt=check_id(named.get("attempt") or new_ulid(), "attempt"),
            agent=agent,
            parent_id=parent_id,
            in_rollout=in_rollout,
            client=client,
            is_anonymous="rollout_id" not in named,
        )
    except InvalidId as error:
        raise BadRequest(
            f"the base URL, a header or the API key names an id that cannot be: {error}"
        ) from error


def _project(client: Client, named: Mapping[str, str]) -> str:
    own = client.project
    if own and named.get("project", own) != own:
        raise WrongProject(
            f"the API key is of the project {own}, and the request names another: leave it out"
        )
    return own or named.get("project", "default")


def _trace(request: Request) -> re.Match[str] | None:
    return _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))


def _named(request: Request) -> Mapping[str, str]:
    """What the client says of the call's place, by field."""
    named: dict[str, str] = {}
    for name, headers in _HEADERS.items():
        places = {"the base URL": request.path_params.get(name)}
        places |= {header: request.headers.get(header) for header in headers}
        given = {place: value for place, value in places.items() if value}
        if len(set(given.values())) > 1:
            told = ", ".join(f"{place} {value!r}" for place, value in given.items())
            raise BadRequest(f"which {name} the call belongs to is said twice: {told}")
        if given:
            named[name] = next(iter(given.values()))
    if ("rollout_id" in named) != ("attempt" in named):
        raise BadRequest(
            "x-headrace-rollout and x-headrace-attempt belong together: send both, or neither"
        )
    return named
