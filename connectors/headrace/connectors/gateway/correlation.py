"""Which attempt a call belongs to: the path prefix says it, or the call stands alone."""

from dataclasses import dataclass

from starlette.requests import Request

from headrace.connectors.gateway.errors import BadRequest
from headrace.schemas import InvalidId, check_id, new_ulid

PREFIXES = (
    "",
    "/rollout/{rollout_id}/attempt/{attempt}",
    "/p/{project}/rollout/{rollout_id}/attempt/{attempt}",
)
AGENT_HEADER = "x-headrace-agent"
_MAX_AGENT = 128


@dataclass(kw_only=True, slots=True, frozen=True)
class Correlation:
    """Where a call belongs."""

    project: str
    rollout_id: str
    attempt: str
    agent: str
    in_rollout: bool = False
    """Whether the client named the attempt: the call is part of an episode that may be trained."""

    @property
    def scope(self) -> str:
        """Who may go on from an answer: its attempt, or all calls of a project that are in none."""
        if not self.in_rollout:
            return self.project
        return f"{self.project}/{self.rollout_id}/{self.attempt}"


def correlate(request: Request) -> Correlation:
    """Read the attempt from the path; a call without one is a rollout of its own.

    Raises:
        BadRequest: an id off the pattern, or an agent name that is too long.
    """
    path = request.path_params
    agent = request.headers.get(AGENT_HEADER, "")
    if len(agent) > _MAX_AGENT:
        raise BadRequest(f"{AGENT_HEADER} has {len(agent)} characters: give up to {_MAX_AGENT}")
    try:
        return Correlation(
            project=check_id(path.get("project", "default"), "project"),
            rollout_id=check_id(path.get("rollout_id") or new_ulid(), "rollout_id"),
            attempt=check_id(path.get("attempt") or new_ulid(), "attempt"),
            agent=agent,
            in_rollout="rollout_id" in path,
        )
    except InvalidId as error:
        raise BadRequest(f"the base URL names an id that cannot be: {error}") from error
