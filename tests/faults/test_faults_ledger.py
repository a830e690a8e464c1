"""What a producer wrote down can be read back, however it ended."""

from pathlib import Path

from benchmarks.faults.clock import MovedClock
from benchmarks.faults.ledger import ACKNOWLEDGED, GIVEN, WHOLE, Ledger, read
from benchmarks.faults.load import Attempt, Source


def attempts(seed: int) -> list[Attempt]:
    return Source(seed).group(1_700_000_000_000_000_000)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    one, other = attempts(1)[:2]
    first, second = Ledger(tmp_path / "first"), Ledger(tmp_path / "second")
    first.write(GIVEN, one.spans)
    first.write(ACKNOWLEDGED, one.spans[:2])
    first.write(WHOLE, one.spans[:1])
    second.write(GIVEN, other.spans)
    for ledger in (first, second):
        ledger.close()
    book = read([tmp_path / "first", tmp_path / "second"])
    assert len(book.given) == len(one.spans) + len(other.spans)
    assert book.acknowledged == {(s.rollout_id, s.attempt, s.span_id) for s in one.spans[:2]}
    assert book.whole == {(one.rollout_id, one.attempt)}


def test_a_torn_last_line_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "torn"
    file.write_text("given r a 0001\ngiven r a 0002\nacknowledged r a 00")
    book = read([file])
    assert book.given == {("r", "a", "0001"), ("r", "a", "0002")}
    assert not book.acknowledged


def test_a_group_is_whole_and_its_calls_can_be_trained() -> None:
    for one in attempts(2):
        kinds = [span.kind for span in one.spans]
        assert kinds[0] == "attempt.start"
        assert kinds[-1] == "attempt.end"
        assert all(span.call.trainable for span in one.spans if span.call is not None)
        assert "call" in kinds
        assert len({span.span_id for span in one.spans}) == len(kinds)


def test_a_clock_that_nobody_moved_is_right(tmp_path: Path) -> None:
    clock = MovedClock(tmp_path / "clock")
    assert clock.ahead_s() == 0
    (tmp_path / "clock").write_text("-3600.0")
    assert clock.ahead_s() == -3600
    (tmp_path / "clock").write_text("")
    assert clock.ahead_s() == 0
