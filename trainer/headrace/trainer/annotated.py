"""Outcomes of samples with what the step saw of each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from headrace.schemas import Outcome
from headrace.schemas.vocabulary import SampleOutcome
from headrace.trainer.annotation import Annotation


def annotated(
    outcomes: Sequence[Outcome], annotations: Mapping[str, Annotation]
) -> Sequence[Outcome]:
    """The outcomes, those of trained samples with what the step saw of them."""
    return [
        replace(one, **asdict(annotations[one.sample_id]))
        if one.outcome == SampleOutcome.TRAINED and one.sample_id in annotations
        else one
        for one in outcomes
    ]
