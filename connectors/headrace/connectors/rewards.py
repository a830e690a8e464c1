"""A reward that somebody gives, as the fields of its span."""

from typing import Any

from headrace.connectors.described import as_name, as_number, marked
from headrace.schemas import Reward


def reward_fields(name: Any, value: Any, source: Any, target: Any) -> dict[str, Any]:
    """The fields of a `Span` that a reward sets, whatever its value is."""
    number, instead = as_number(value)
    texts = {"name": as_name(name), "source": as_name(source), "target": as_name(target)}
    return {
        "reward": Reward(value=number, **texts),
        "attributes": marked(instead.text, instead.replaced),
    }
