"""How far a task source is, in words; and which tasks it draws."""

import itertools

from rich.console import Console

from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.tasks import Pace, TaskItem, TaskSourceConfig, progress_text, waited_for
from headrace.connectors.tasks.pace import QUIET_S
from headrace.infra.terminal.feed import Training, planned
from headrace.infra.terminal.live import LiveLine

ITEMS = [TaskItem(input=number) for number in range(3)]


class Shown(LiveLine):
    """Keeps what it would show."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.texts: list[str] = []

    def update(self, text: str) -> None:
        self.texts.append(text)


def inputs(epochs: int, groups: int | None) -> tuple[list[object], int | None]:
    draw, total = planned(ITEMS, epochs, groups)
    return [item.input for item in itertools.islice(draw, 20)], total


def test_each_epoch_goes_through_the_file_once_more() -> None:
    assert inputs(2, None) == ([0, 1, 2, 0, 1, 2], 6)


def test_epochs_without_end_end_with_their_groups() -> None:
    assert inputs(0, 4) == ([0, 1, 2, 0], 4)
    endless, total = inputs(0, None)
    assert (len(endless), total) == (20, None)


def test_no_more_groups_are_drawn_than_the_file_has() -> None:
    assert inputs(1, 9) == ([0, 1, 2], 3)


def test_it_says_what_it_waits_for() -> None:
    assert "version 0 of p: not published" in waited_for(Pace(), "p", 0)
    full = Pace(version=1, running=8)
    assert "free slot" in waited_for(full, "p", QUIET_S - 1)
    assert "is `headrace work` running?" in waited_for(full, "p", QUIET_S)


def test_the_total_is_told_if_there_is_one() -> None:
    assert "3 of 7 groups" in progress_text(Pace(groups=3), 7)
    assert "3 groups" in progress_text(Pace(groups=3), None)


def test_each_version_is_told_once_and_quiet_counts_from_the_last_change() -> None:
    now = 0.0
    line = Shown(Console(quiet=True))
    versions: list[int] = []
    config = TaskSourceConfig(
        kafka=KafkaAccess(bootstrap="b"), registry=RegistryAccess(url="http://r"), policy="p"
    )
    training = Training(
        config, None, line, lambda pace: versions.append(pace.version), clock=lambda: now
    )
    for at, pace in (
        (0.0, Pace()),
        (5.0, Pace(version=0)),
        (30.0, Pace(version=0, running=8)),
        (59.0, Pace(version=0, running=8)),
        (60.0, Pace(version=0, running=8)),
        (61.0, Pace(version=2, running=4)),
    ):
        now = at
        training.follow(pace)
    assert versions == [0, 2]
    assert ["headrace work" in text for text in line.texts] == [
        False,
        False,
        False,
        False,
        True,
        False,
    ]
