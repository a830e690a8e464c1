"""Whether a sample can be a row: asked when it comes, so that a step never finds out. Pure."""

from dataclasses import dataclass

import numpy as np

from headrace.schemas import Sample, SampleCredit
from headrace.schemas.vocabulary import DropReason
from headrace.trainer.errors import RowError
from headrace.trainer.held import LeftOut
from headrace.trainer.rows import row_of


@dataclass(kw_only=True, slots=True, frozen=True)
class Fitness:
    """What this trainer can take."""

    vocabulary: int = 1 << 32
    """Tokens of the model."""
    token_budget: int = 1 << 32
    """Tokens of a pack."""

    def of_sample(self, sample: Sample) -> LeftOut | None:
        """Why a sample cannot be trained whatever its credit; None: it can."""
        try:
            row = row_of(SampleCredit(sample_id=sample.sample_id), sample, self.vocabulary)
        except RowError as error:
            return LeftOut(DropReason.BAD_ROW, str(error))
        if row.length > self.token_budget:
            return LeftOut(
                DropReason.TOO_LONG,
                f"{row.length} tokens; [trainer] token_budget is {self.token_budget}",
            )
        return None

    def of_credit(self, credit: SampleCredit, sample: Sample) -> LeftOut | None:
        """Why its credit cannot be used on a sample that is fit; None: it can."""
        if not np.isfinite(credit.advantage):
            return LeftOut(DropReason.BAD_ROW, f"its advantage is {credit.advantage}")
        if credit.token_weights is None:
            return None
        if len(credit.token_weights) != len(sample.sampled_ids):  # both of four bytes a token
            return LeftOut(
                DropReason.BAD_ROW,
                f"{len(credit.token_weights)} bytes of token weights for "
                f"{len(sample.sampled_ids) // 4} tokens",
            )
        if not np.isfinite(np.frombuffer(credit.token_weights, "<f4")).all():
            return LeftOut(DropReason.BAD_ROW, "its token weights are not finite")
        return None
