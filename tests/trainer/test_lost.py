"""What a starting trainer misses in the log."""

from dataclasses import replace

from headrace.connectors.kafka import HALTED, LOG_LOST, RESUMED
from headrace.trainer.lost import losses

SAMPLES = ("headrace.samples", 3)
CREDITS = ("headrace.credits", 3)
GROUP = "headrace.trainer.assistant"


def test_a_range_that_is_gone_is_told_with_its_bounds() -> None:
    (lost,) = losses(GROUP, {SAMPLES: 10, CREDITS: 10}, {SAMPLES: 15, CREDITS: 10}, {})
    assert (lost.topic, lost.partition, lost.offset, lost.end) == (*SAMPLES, 10, 15)
    assert (lost.stage, lost.group, lost.reason, lost.state) == (
        "trainer",
        GROUP,
        LOG_LOST,
        HALTED,
    )


def test_a_loss_that_was_accepted_is_none() -> None:
    (lost,) = losses(GROUP, {SAMPLES: 10}, {SAMPLES: 15}, {})
    standing = {(GROUP, SAMPLES): replace(lost, state=RESUMED)}
    assert list(losses(GROUP, {SAMPLES: 10}, {SAMPLES: 15}, standing)) == []
    assert len(list(losses(GROUP, {SAMPLES: 10}, {SAMPLES: 16}, standing))) == 1
    assert len(list(losses("headrace.trainer.shadow", {SAMPLES: 10}, {SAMPLES: 15}, standing))) == 1
