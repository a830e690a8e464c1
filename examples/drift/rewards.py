"""The reward rule of the drift demo: what the user said, whenever that is."""

from headrace.schemas import Episode
from headrace.streams.reward import reward


@reward
def drift(episode: Episode) -> float | None:
    """The user's last word; awaited until there is one. A crash gives nothing right."""
    if episode.status != "ok":
        return 0.0
    said = [given.value for given in episode.rewards if given.name == "thumbs"]
    return said[-1] if said else None
