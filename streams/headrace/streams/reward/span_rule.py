"""Rules that take the rewards given by spans: by the agent, a user or a slow scorer."""

import math

from headrace.schemas import Episode
from headrace.streams.reward.errors import RewardError
from headrace.streams.reward.rule import Rule
from headrace.streams.reward.targets import own_target

VERSION = "1"


def span_rule(text: str) -> Rule:
    """The rule of `name`, or of weighted dimensions `a=1.0,b=0.5`: Σ weight·value.

    Of several spans of one name the last in the log counts; a span aimed at one call is not the
    episode's reward but, with the same weights, that call's. The reward is awaited until every
    dimension has come.

    Raises:
        RewardError: the text is neither.
    """
    weights = _weights(text)

    def from_spans(episode: Episode) -> dict[str, float | None]:
        own = own_target(episode)
        values = {given.name: given.value for given in episode.rewards if given.target in own}
        return {name: values.get(name) for name in weights}

    return Rule(name=f"span:{text}", version=VERSION, function=from_spans, weights=weights)


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
