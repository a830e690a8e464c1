"""Why samples are dropped, in words."""

import pytest

from headrace.infra.console.pages.rollouts import why
from headrace.infra.console.reasons import REASONS
from headrace.schemas.vocabulary import (
    DropReason,
    GroupOutcome,
    MemberStatus,
    RolloutState,
    Untrainable,
)

TAUGHT = {GroupOutcome.TRAIN, MemberStatus.USED}
"""What is said of samples that were not dropped for it."""


def test_every_reason_that_there_is_has_its_meaning_and_no_other_has() -> None:
    words = {*DropReason, *GroupOutcome, *MemberStatus, *Untrainable} - TAUGHT
    assert set(REASONS) == {str(word) for word in words}
    assert all(meaning and advice for meaning, advice in REASONS.values())


@pytest.mark.parametrize("state", RolloutState)
def test_a_rollout_says_why_it_is_where_it_is_unless_it_came_to_a_good_end(
    state: RolloutState,
) -> None:
    reason = "stale" if state is RolloutState.DROPPED else ""
    said = why({"state": str(state), "reason": reason})
    assert bool(said) == (state not in (RolloutState.TRAINED, RolloutState.EVALUATED))


def test_what_a_group_waits_for_is_said_before_that_it_waits() -> None:
    assert "other members" in why({"state": "waiting", "reason": "group_open"})
    assert "trainer" in why({"state": "credited", "reason": ""})
