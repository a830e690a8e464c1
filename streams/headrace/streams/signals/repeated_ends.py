"""Attempts that were ended more than once."""

from collections.abc import Sequence

import numpy as np

from headrace.schemas.vocabulary import SpanKind
from headrace.streams.signals.take import Take


def repeated_ends(take: Take) -> Sequence[int]:
    """Ends after the first, whose status and result alone count."""
    ends = take.count(take.where("kind", SpanKind.END))
    after: list[int] = np.maximum(0, np.array(ends, dtype=int) - 1).tolist()
    return after
