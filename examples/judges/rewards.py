"""The reward rule of the judges: the grade is the episode's, replies are their calls'."""

from collections.abc import Sequence

from headrace.schemas import Episode
from headrace.streams.reward import reward, rewards_of_calls

WEIGHTS = {"reply": 0.2}
"""What a reply counts beside the grade: for credit methods that look at calls."""


def of_replies(episode: Episode) -> Sequence[float | None]:
    """What the replies earned each call; None for a call without one."""
    return rewards_of_calls(episode, WEIGHTS)


@reward(calls=of_replies)
def judged(episode: Episode) -> float | None:
    """The judge's grade; not known yet until it comes."""
    grades = [given.value for given in episode.rewards if given.name == "judge"]
    return grades[-1] if grades else None
