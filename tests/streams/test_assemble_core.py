"""Sets and time of one episode, and what the assembler keeps in memory."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from headrace.schemas import Span, build_span_batch, read_span_batch
from headrace.streams.assemble.columns import LoggedBatch
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.assemble.core import Assembler
from headrace.streams.assemble.episode import EpisodeState, Limits
from headrace.streams.assemble.keys import NEVER
from headrace.streams.assemble.spans import Spans

LIMITS = Limits(idle_ms=100, max_age_ms=300, grace_ms=20)
Row = tuple[int, int, bool, int]  # span id, pause before it, end, bound
rows_of = st.lists(
    st.tuples(
        st.integers(1, 12),
        st.sampled_from([0, 1, 60, 100, 101]),
        st.booleans(),
        st.sampled_from([NEVER, NEVER, 1_050, 1_200]),
    ),
    min_size=1,
    max_size=12,
)


def timed(rows: list[Row]) -> list[tuple[int, int, bool, int]]:
    now, out = 1_000, []
    for span_id, pause, ended, bound in rows:
        now += pause
        out.append((span_id, now, ended, bound))
    return out


def add_one_by_one(state: EpisodeState, rows: list[tuple[int, int, bool, int]]) -> None:
    for span_id, at, ended, bound in rows:
        state.add(span_id, mixed=span_id, log_time=at, ended=ended, bound=bound, limits=LIMITS)


def facts(state: EpisodeState) -> tuple[object, ...]:
    return (
        state.ids,
        state.version,
        state.digest,
        state.closed_by,
        state.log_first,
        state.log_last,
        state.close_by(LIMITS),
    )


@given(rows_of, rows_of)
def test_spans_added_at_once_say_the_same_as_one_by_one(before: list[Row], then: list[Row]) -> None:
    history = timed(before + then)
    first, second = history[: len(before)], history[len(before) :]
    singly = EpisodeState(key="p/r/a", partition=0)
    add_one_by_one(singly, history)
    at_once = EpisodeState(key="p/r/a", partition=0)
    for part in (first, second):
        ids = [row[0] for row in part]
        times = [row[1] for row in part]
        bound = min(row[3] for row in part)
        plain = at_once.takes_plainly(
            ids,
            first=times[0],
            last=times[-1],
            widest=max((b - a for a, b in itertools.pairwise(times)), default=0),
            bound=bound,
            limits=LIMITS,
        )
        if plain:
            at_once.add_all(
                ids,
                mixed=sum(ids),
                first=times[0],
                last=times[-1],
                ended=any(row[2] for row in part),
                bound=bound,
            )
        else:
            add_one_by_one(at_once, part)
    assert facts(at_once) == facts(singly)


@given(rows_of, st.integers(1_000, 1_500))
def test_what_is_closed_stays_closed(rows: list[Row], now: int) -> None:
    state = EpisodeState(key="p/r/a", partition=0)
    was_closed = False
    for row in timed(rows):
        add_one_by_one(state, [row])
        assert state.closed or not was_closed
        was_closed = state.closed
    state.pass_time(now, LIMITS)
    assert state.closed or not was_closed


@given(st.permutations(range(1, 9)))
def test_the_digest_does_not_depend_on_order(ids: list[int]) -> None:
    state = EpisodeState(key="p/r/a", partition=0)
    add_one_by_one(state, [(span_id, 1_000, False, NEVER) for span_id in ids])
    assert state.digest == sum(range(1, 9))


def test_an_end_outranks_the_clock() -> None:
    state = EpisodeState(key="p/r/a", partition=0)
    add_one_by_one(state, [(1, 1_000, False, NEVER), (2, 1_200, False, NEVER)])
    assert state.closed_by == "idle"
    add_one_by_one(state, [(3, 1_201, True, NEVER)])
    assert state.closed_by == "end"


def batch_of(offset: int, *rollouts: str) -> LoggedBatch:
    spans = [
        Span(rollout_id=r, attempt="a", span_id=f"{offset + 1:016x}", kind="span", name="n")
        for r in rollouts
    ]
    numbers = {("default", r, "a"): offset for r in rollouts}
    record = build_span_batch(spans, producer="p", sequence=offset, episode_batches=numbers)
    return LoggedBatch(
        columns=read_span_batch(record), partition=0, offset=offset, log_time=1_000 + offset
    )


def test_memory_is_bounded_and_what_is_forgotten_leaves_a_stub() -> None:
    assembler = Assembler(AssembleConfig(memory_bytes=20_000))
    for offset in range(100):
        assembler.fold(Spans([batch_of(offset, f"r{offset}")]))
        assembler.settle()
        assembler.evict()
        assert assembler.held_bytes <= 20_000
    assert assembler.episodes + assembler.stubs == 100
    assert 0 < assembler.episodes < 100
    needs = assembler.needs(["default/r0/a", "default/r99/a", "default/new/a"])
    assert (needs.unknown, needs.stubs) == (["default/new/a"], ["default/r0/a"])


def test_expired_stubs_are_rebuilt_some_at_a_time() -> None:
    assembler = Assembler(AssembleConfig(expired_per_take=2))
    for number in range(5):
        assembler.stub(0, f"default/r{number}/a", 1_000 + number)
    assert assembler.next_deadline(0) == 1_000
    assembler.advance(0, 1_003, 9)
    assert assembler.needs([]).due == ["default/r0/a", "default/r1/a"]
    due = assembler.needs([]).due
    assert due == ["default/r2/a"], "r3 is due at 1,003, not before it has passed"
    assembler.settle()
    assert assembler.next_deadline(0) == 1_003


def test_an_open_episode_has_one_row_and_is_published_when_it_closes() -> None:
    assembler = Assembler(AssembleConfig(idle_ms=50))
    assembler.fold(Spans([batch_of(0, "r")]))
    assert assembler.settle().snapshots == []
    assembler.fold(Spans([batch_of(1, "r")]))
    assert assembler.settle().snapshots == []
    opened = assembler.settle_open()
    assert [(s.version, s.closed) for s in opened.snapshots] == [(4, False)]
    assert opened.rows.num_rows == 2
    assert assembler.settle_open().snapshots == []
    assembler.advance(0, 2_000, 9)
    last = assembler.settle()
    assert [(s.version, s.closed_by) for s in last.snapshots] == [(5, "idle")]
    assert last.rows.num_rows == 2


def test_what_closes_before_it_is_stored_needs_no_row_as_an_open_one() -> None:
    assembler = Assembler(AssembleConfig(idle_ms=50))
    assembler.fold(Spans([batch_of(0, "r")]))
    assembler.settle()
    assembler.advance(0, 2_000, 9)
    assert [s.closed for s in assembler.settle().snapshots] == [True]
    assert assembler.settle_open().snapshots == []
