"""Loops that lead nowhere."""

from headrace.streams.signals.cycles import cycles
from headrace.streams.signals.take import Seen

TIMES = 3
"""As often in a row the same must happen."""
PERIODS = (1, 2, 3)
"""Of so many steps a loop may be."""


def stuck_loops(episode: Seen) -> int:
    """Stretches in which tools were asked the same and said the same three times or more, or in
    which an agent's model said the same.

    A tool that is asked again and says something new is waited for, not stuck.
    """
    if max(len(episode.tools), len(episode.calls)) < TIMES:
        return 0
    tools = [(t.agent, t.name, t.input, t.output) for t in episode.tools if t.input or t.output]
    said = [
        (call.agent, call.output)
        for call, before in zip(episode.calls, [None, *episode.calls], strict=False)
        # Choices of one request are no turns.
        if call.output and (before is None or call.started_at >= before.ended_at)
    ]
    return cycles(tools, PERIODS, TIMES) + cycles(said, (1,), TIMES)
