"""Why samples are dropped, in words."""

from headrace.infra.console.reasons import REASONS
from headrace.schemas.vocabulary import DropReason, GroupOutcome, MemberStatus, Untrainable

TAUGHT = {GroupOutcome.TRAIN, MemberStatus.USED}
"""What is said of samples that were not dropped for it."""


def test_every_reason_that_there_is_has_its_meaning_and_no_other_has() -> None:
    words = {*DropReason, *GroupOutcome, *MemberStatus, *Untrainable} - TAUGHT
    assert set(REASONS) == {str(word) for word in words}
    assert all(meaning and advice for meaning, advice in REASONS.values())
