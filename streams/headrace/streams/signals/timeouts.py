"""Time-outs."""

from headrace.schemas.vocabulary import SpanKind, SpanStatus
from headrace.streams.signals.take import Take

_WORD = r"\btime(d[ -]?)?[ -]?out|timeout|deadline ?exceeded"
_SAYS_SO = rf"(?i)^.{{0,80}}({_WORD})"
_ERROR_SAYS_SO = rf'(?i)"error\.(type|message)": ?"[^"]{{0,80}}({_WORD}|\b504\b|\b408\b)'


def timeouts(take: Take) -> list[int]:
    """Attempts ended by their deadline, and exceptions, tools and calls that name a time-out."""
    deadline = take.where("kind", SpanKind.EVENT) & take.where("name", "deadline")
    failed = take.where("status", SpanStatus.ERROR)
    raised = failed & take.where("kind", SpanKind.EXCEPTION)
    tools = failed & take.where("kind", SpanKind.TOOL)
    calls = failed & take.where("kind", SpanKind.CALL)
    return take.count(
        deadline
        | take.matching(raised, "name", f"(?i){_WORD}")
        | take.matching(tools, "output", _SAYS_SO)
        # A tool's text may be left out by a capture mode; its error's type is not.
        | take.matching(calls | tools, "attributes", _ERROR_SAYS_SO)
    )
