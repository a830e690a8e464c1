"""The ledger: decided outcomes are committed soon, whatever else keeps the trainer busy."""

from headrace.schemas import Outcome
from headrace.trainer.ledger import FLUSH_OUTCOMES, FLUSH_S, PendingOutcomes


def dropped(reason: str) -> Outcome:
    return Outcome(outcome="dropped", reason=reason)


def test_outcomes_are_due_soon_after_the_first_even_while_more_keep_coming() -> None:
    ledger = PendingOutcomes()
    assert not ledger.is_due(0.0)
    ledger.add([dropped("eval")], 10.0)
    ledger.add([dropped("eval")], 10.0 + 0.9 * FLUSH_S)

    assert not ledger.is_due(10.0 + 0.9 * FLUSH_S)
    assert ledger.is_due(10.0 + FLUSH_S)


def test_many_outcomes_are_due_at_once() -> None:
    ledger = PendingOutcomes()
    ledger.add([dropped("eval")] * FLUSH_OUTCOMES, 10.0)
    assert ledger.is_due(10.0)


def test_after_a_commit_the_time_counts_from_the_next_outcome() -> None:
    ledger = PendingOutcomes()
    ledger.add([dropped("eval")], 10.0)
    ledger.committed(with_version=False)
    ledger.add([], 50.0)
    assert not ledger.is_due(99.0)
    ledger.add([dropped("eval")], 99.0)
    assert not ledger.is_due(99.0)


def test_drops_are_counted_by_reason_until_the_next_version() -> None:
    ledger = PendingOutcomes()
    ledger.add([dropped("eval"), dropped("stale"), Outcome(outcome="trained")], 0.0)
    ledger.committed(with_version=False)
    ledger.add([dropped("stale")], 0.0)
    assert ledger.dropped == {"eval": 1, "stale": 2}
    ledger.committed(with_version=True)
    assert not ledger.dropped
