"""How `headrace tasks status` looks to a person."""

import pytest

from headrace.infra.cli.tasks_status import COUNTS, show
from headrace.infra.launch.tasks_status import LastError, Running, TaskCounts
from headrace.schemas import new_ulid

NOW_S = 1_000_000.0


def shown(capsys: pytest.CaptureFixture[str], *found: TaskCounts) -> list[str]:
    show(list(found), NOW_S)
    return capsys.readouterr().out.splitlines()


def test_it_fits_into_80_columns_and_says_each_number_under_its_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    numbers = {name: 1_000 + at for at, name in enumerate(COUNTS)}
    running = [
        Running(
            rollout_id=new_ulid(),
            attempt=new_ulid(),
            runner="a-host-with-a-long-name.example.org/0",
            number=1,
            since=int((NOW_S - age) * 1000),
            deadline=deadline and int((NOW_S + deadline) * 1000),
        )
        for age, deadline in ((5.0, 0), (600.0, 90), (7_200.0, -1))
    ]
    error = LastError(
        rollout_id=new_ulid(), attempt="a", text="ValueError: [no] idea", at=int(NOW_S * 1000)
    )
    one = TaskCounts(
        policy="a-policy-with-a-long-name",
        project="default",
        now_running=running,
        last_error=error,
        **numbers,
    )
    lines = shown(capsys, one)
    assert all(len(line.rstrip()) <= 80 for line in lines)
    head, row = lines[0], lines[1]
    assert head.split()[-7:] == list(COUNTS)
    assert row.split()[-7:] == [str(number) for number in numbers.values()]
    text = " ".join("\n".join(lines).split())
    assert all(each.rollout_id in text for each in running)
    assert "5 s none" in text
    assert "10 min in 90 s" in text
    assert "2 h over" in text
    assert "ValueError: [no] idea" in text


def test_of_very_many_the_oldest_are_shown_and_the_rest_is_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    running = [
        Running(rollout_id=f"r{n}", attempt="a", runner="h/0", number=1, since=0, deadline=0)
        for n in range(50)
    ]
    lines = shown(capsys, TaskCounts(policy="p", project="default", now_running=running))
    assert any(line.startswith("and 30 more") for line in lines)
