"""A group that has its credits and waits for its samples, or for its step. Pure."""

from dataclasses import dataclass, field

from headrace.schemas import Credits
from headrace.trainer.held import LeftOut
from headrace.trainer.pinned import Position


@dataclass(slots=True)
class WaitingGroup:
    """Credits, and which of their samples are still to come."""

    credits: Credits
    position: Position
    samples_end: int | None = None  # end of its partition of samples, after the credits came
    missing: set[str] = field(default_factory=set)
    """Trainable samples that have not come."""
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    """Trainable samples that will not be trained, by id."""
