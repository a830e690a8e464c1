"""Rules that take the rewards given by spans: by the agent, a user or a slow scorer."""

import math

from headrace.schemas import Episode, ids
from headrace.streams.reward.errors import RewardError
from headrace.streams.reward.rule import Rule

VERSION = "1"


def span_rule(text: str) -> Rule:
    """The rule of `name`, or of weighted dimensions `a=1.0,b=0.5`: Σ weight·value.

    Of several spans of one name the last in the log counts; a span aimed at one call is not the
    episode's reward. The reward is awaited until every dimension has come.

    Raises:
        RewardError: the text is neither.
    """
    weights = _weights(text)

    def from_spans(episode: Episode) -> float | None:
        own = {"", ids.episode_id(episode.rollout_id, episode.attempt)}
        values = {given.name: given.value for given in episode.rewards if given.target in own}
        if any(name not in values for name in weights):
            return None
        return sum(weight * values[name] for name, weight in weights.items())

    return Rule(name=f"span:{text}", version=VERSION, function=from_spans)


def _weights(text: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, weight = part.partition("=")
        try:
            weights[name] = float(weight) if equals else 1.0
        except ValueError as error:
            raise RewardError(f"weight {weight!r} of reward {name!r} is no number") from error
        if not math.isfinite(weights[name]):
            raise RewardError(f"weight {weight!r} of reward {name!r} is not finite")
        if not name:
            raise RewardError(f"reward names in {text!r} must not be empty: write span:a=1.0,b=0.5")
    return weights
