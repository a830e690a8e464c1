"""Failed tools."""

from headrace.schemas.vocabulary import SpanStatus
from headrace.streams.signals.take import Seen


def tool_errors(episode: Seen) -> int:
    """Tool executions that ended in an error."""
    return sum(tool.status == SpanStatus.ERROR for tool in episode.tools)
