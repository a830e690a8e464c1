"""Soft punishment of long calls (DAPO, arXiv 2503.14476, eq. 13). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.streams.credit.members import MemberCall
from headrace.streams.credit.methods import written


@dataclass(kw_only=True, slots=True, frozen=True)
class Overlong:
    """Up to `tokens - buffer` sampled tokens cost nothing, then linearly more, up to 1."""

    tokens: int = 0
    """Tokens that a call may sample (L_max); 0: no call is punished."""
    buffer: int = 1
    """The last so many of them cost (L_cache)."""

    @property
    def name(self) -> str:
        """Part of the credit's id; empty: nothing is punished."""
        return written("overlong", self.tokens, self.buffer) if self.tokens else ""

    def penalty(self, sampled: int) -> float:
        """What is added to a reward for a call of so many sampled tokens, -1 to 0."""
        if not self.tokens:
            return 0.0
        over = sampled - (self.tokens - self.buffer)
        return -min(max(over / self.buffer, 0.0), 1.0)

    def of_calls(self, calls: Sequence[MemberCall]) -> float:
        """What an episode's longest call costs its reward."""
        return self.penalty(max((call.tokens for call in calls), default=0))
