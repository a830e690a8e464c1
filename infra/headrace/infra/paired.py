"""Did the last version do better than the first on the same questions? Exact, paired."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054
SOLVED = 1 - 1e-6
"""Reward of a right answer, but for what sums of parts lose."""


@dataclass(kw_only=True, slots=True, frozen=True)
class PairedTest:
    """Successes of two versions on the same questions, one entry a question."""

    before: tuple[bool, ...]
    after: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.before) != len(self.after) or not self.before:
            raise ValueError(
                f"paired answers must be as many, and some: {len(self.before)}, {len(self.after)}"
            )

    @property
    def rate_before(self) -> float:
        """Share of successes of the first version."""
        return sum(self.before) / len(self.before)

    @property
    def rate_after(self) -> float:
        """Share of successes of the last version."""
        return sum(self.after) / len(self.after)

    @property
    def better(self) -> int:
        """Questions that only the last version got right."""
        return sum(a and not b for b, a in zip(self.before, self.after, strict=True))

    @property
    def worse(self) -> int:
        """Questions that only the first version got right."""
        return sum(b and not a for b, a in zip(self.before, self.after, strict=True))

    @property
    def p_value(self) -> float:
        """Exact one-sided McNemar test of "not better" (McNemar 1947; binomial on discordants)."""
        discordant = self.better + self.worse
        at_least = sum(math.comb(discordant, k) for k in range(self.better, discordant + 1))
        return float(at_least / 2**discordant)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference in rates (Agresti and Min 2005: Wald on counts + 1/2)."""
        n = len(self.before) + 2
        up, down = self.better + 0.5, self.worse + 0.5
        difference = (up - down) / n
        error = math.sqrt((up + down) - (up - down) ** 2 / n) / n
        return max(-1.0, difference - Z95 * error), min(1.0, difference + Z95 * error)


def paired(before: Sequence[bool], after: Sequence[bool]) -> PairedTest:
    """The test of two equally long rows of successes."""
    return PairedTest(before=tuple(before), after=tuple(after))
