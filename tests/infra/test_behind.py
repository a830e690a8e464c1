"""How far a worker is behind, in a word."""

import math

from headrace.connectors.kafka.lag import Lag
from headrace.infra.launch.behind import Behind, summed


def lag(records: int, seconds: float, retention_s: float = 604_800.0) -> Lag:
    return Lag(records=records, seconds=seconds, retention_s=retention_s)


def test_records_add_up_and_the_oldest_and_the_shortest_kept_decide() -> None:
    lags = {
        ("headrace.samples", 0): lag(5, 1.25),
        ("headrace.samples", 1): lag(7, 90.0),
        ("headrace.credits", 0): lag(0, 0.0, 3_600.0),
    }
    assert summed(lags) == Behind(records=12, seconds=90.0, retention_s=3_600.0)


def test_topics_that_keep_everything_have_no_bound() -> None:
    assert summed({("headrace.policies", 0): lag(0, 0.0, math.inf)}).retention_s is None
    assert summed({}) == Behind(records=0, seconds=0.0, retention_s=None)


def test_it_is_told_beside_what_is_kept_and_not_at_all_where_there_is_none() -> None:
    assert str(Behind(records=1204, seconds=12.04, retention_s=604_800.0)) == (
        "1,204 records and 12.0 s behind (kept for 168 h)"
    )
    assert str(Behind(records=3, seconds=0.5, retention_s=None)) == "3 records and 0.5 s behind"
    assert str(Behind(records=0, seconds=0.0, retention_s=604_800.0)) == ""
