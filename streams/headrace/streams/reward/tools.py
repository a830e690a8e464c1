"""Which call of an episode brought about which tool execution, and how these fared. Pure."""

from headrace.schemas import Episode, EpisodeCall, EpisodeTool
from headrace.schemas.vocabulary import SpanStatus


def tools_of_calls(episode: Episode) -> list[list[EpisodeTool]]:
    """For each call the tools that it called for: those whose parent it is, and of the others those
    that began after it and before the next call of the same agent.

    A tool that names no agent belongs to the last call of any.
    """
    of_calls: list[list[EpisodeTool]] = [[] for _ in episode.calls]
    places = {call.span_id: k for k, call in enumerate(episode.calls)}
    for tool in episode.tools:
        place = places.get(tool.parent_id)
        if place is None:
            place = _last_before(episode.calls, tool)
        if place >= 0:
            of_calls[place].append(tool)
    return of_calls


def tool_success(episode: Episode) -> list[float | None]:
    """For each call which share of its tools ended without an error; None for one without tools.

    As `@reward(calls=tool_success)` it gives each call what its tools earned.
    """
    return [
        sum(tool.status != SpanStatus.ERROR for tool in tools) / len(tools) if tools else None
        for tools in tools_of_calls(episode)
    ]


def _last_before(calls: list[EpisodeCall], tool: EpisodeTool) -> int:
    for k in range(len(calls) - 1, -1, -1):
        call = calls[k]
        same = not tool.agent or not call.agent or tool.agent == call.agent
        if same and call.started_at <= tool.started_at:
            return k
    return -1
