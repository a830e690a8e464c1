"""Hand-offs in a circle."""

from collections.abc import Iterator

from headrace.schemas import EpisodeCall
from headrace.streams.signals.cycles import cycles
from headrace.streams.signals.take import Seen

PERIODS = (2, 3)
"""So many agents may be in the circle."""
TIMES = 2


def ping_pongs(episode: Seen) -> int:
    """How often two or three agents handed to each other in a circle, twice or more, saying only
    what each had said before, and with no tool run meanwhile.

    A writer and a critic who take turns say something new each time.
    """
    if len({call.agent for call in episode.calls}) < min(PERIODS):
        return 0
    return sum(
        cycles([(call.agent, call.output) for call in each], PERIODS, TIMES)
        for each in _handed_over(episode)
    )


def _handed_over(episode: Seen) -> Iterator[list[EpisodeCall]]:
    """Stretches of calls in which each handed to the next: another agent's, no tool between."""
    ends = [tool.started_at for tool in episode.tools]
    stretch: list[EpisodeCall] = []
    for call in episode.calls:
        if stretch and (
            call.agent == stretch[-1].agent
            or any(stretch[-1].started_at <= end <= call.started_at for end in ends)
        ):
            yield stretch
            stretch = []
        stretch.append(call)
    yield stretch
