"""A run of the benchmark: its order, what it writes and when, and what it says of the targets."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.kernels import cases, measure, report, session, verdict
from benchmarks.kernels.book import Book, Result, key, open_book
from benchmarks.kernels.grid import FIRST, MAIN_TOKENS, SHAPES, TOKENS, Spec, grid
from benchmarks.kernels.providers import LOGITS, OURS, PROVIDERS
from benchmarks.kernels.routes import Outcome, Provider

pytestmark = pytest.mark.interpreter

CPU = torch.device("cpu")
ABOUT = {
    "device": "NVIDIA H200",
    "date": "2026-01-01",
    "torch": "2.13",
    "triton": "3.7",
    "cuda": "13.0",
    "peers": {"peer": "1.0"},
    "rate": 700e12,
}


def specs(count: int) -> list[Spec]:
    return grid(list(SHAPES), list(TOKENS))[:count]


def result(provider: str, milliseconds: float, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "provider": provider,
        "case": Spec(shape="llama-3.1-8b", tokens=MAIN_TOKENS).label,
        "milliseconds": milliseconds,
        "low": milliseconds,
        "high": milliseconds,
        "turns": 20,
        "peak_bytes": 4 << 30,
        "saved_bytes": 1 << 30,
        "useful_teraflops": 1.0,
        "repeats": True,
        "errors": {"grad_hidden": 0.002, "grad_weight": 0.003, "logp": None},
    }
    return asdict(Result(**(values | changes)))


def test_the_three_first_shapes_come_first_and_no_case_twice() -> None:
    every = grid(list(SHAPES), list(TOKENS))
    assert [(one.shape, one.tokens, one.masked) for one in every[:3]] == [
        (shape, MAIN_TOKENS, 0.0) for shape in FIRST
    ]
    assert len({one.label for one in every}) == len(every)
    assert {(one.shape, one.tokens) for one in every} == {(s, n) for s in SHAPES for n in TOKENS}
    assert {one.loss for one in every} == {"dapo", "dapo-kl", "gspo"}
    assert {one.shape for one in every if one.compacted} == set(SHAPES)


def test_the_grid_can_be_narrowed() -> None:
    every = grid(["qwen2.5-7b"], [8192])
    assert [one.label for one in every] == ["qwen2.5-7b N=8192 dapo dense"]


def test_every_case_is_written_when_it_is_done(tmp_path: Path) -> None:
    book = Book(path=tmp_path / "run.json", about=ABOUT)
    wanted = specs(3)

    def run_one(spec: Spec) -> None:
        if spec == wanted[2]:
            raise RuntimeError("the machine is taken away")
        book.results.append(result("one", 1.0, case=spec.label))

    with pytest.raises(RuntimeError, match="taken away"):
        session.run_cases(book, wanted, run_one, seconds=None)
    again = open_book(tmp_path / "run.json", ABOUT, go_on=True)
    assert again.finished == [spec.label for spec in wanted[:2]]
    assert [row["case"] for row in again.results] == again.finished


def test_what_is_finished_is_not_run_again(tmp_path: Path) -> None:
    wanted = specs(3)
    first = Book(path=tmp_path / "run.json", about=ABOUT)
    session.run_cases(first, wanted[:2], lambda spec: None, seconds=None)
    again = open_book(first.path, ABOUT, go_on=True)
    ran: list[Spec] = []
    session.run_cases(again, wanted, ran.append, seconds=None)
    assert ran == wanted[2:]
    assert again.finished == [spec.label for spec in wanted]


def test_the_budget_stops_after_the_case_in_progress_and_names_the_rest(tmp_path: Path) -> None:
    book = Book(path=tmp_path / "run.json", about=ABOUT)
    wanted = specs(4)
    now = [0.0]

    def takes_a_minute(spec: Spec) -> None:
        now[0] += 60.0

    session.run_cases(book, wanted, takes_a_minute, seconds=90.0, clock=lambda: now[0])
    assert book.finished == [spec.label for spec in wanted[:2]]
    assert book.left_out == [spec.label for spec in wanted[2:]]
    assert json.loads(book.path.read_text())["left_out"] == book.left_out


def test_what_the_process_died_of_is_left_out_afterwards(tmp_path: Path) -> None:
    book = Book(path=tmp_path / "run.json", about=ABOUT)
    with pytest.raises(KeyboardInterrupt), book.running(key("spins forever", "a case")):
        raise KeyboardInterrupt
    again = open_book(book.path, ABOUT, go_on=True)
    assert "while it ran" in again.absent["spins forever on a case"]
    assert again.started is None


def test_results_of_another_machine_are_not_added_to(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    Book(path=path, about=ABOUT).write()
    with pytest.raises(ValueError, match="of one machine"):
        open_book(path, {**ABOUT, "torch": "2.11"}, go_on=True)
    with pytest.raises(ValueError, match="--continue"):
        open_book(path, ABOUT, go_on=False)


def test_a_provider_of_another_loss_takes_no_part(tmp_path: Path) -> None:
    book = Book(path=tmp_path / "run.json", about=ABOUT)

    def wrong(case: cases.Case) -> Outcome:
        return Outcome((case.hidden @ case.weight.t()).sum())

    right = PROVIDERS[LOGITS]
    losses = session.check_all(book, [Provider(name="wrong", make=lambda: wrong), right], CPU)
    assert list(losses) == [LOGITS]
    assert "computes another loss" in book.absent["wrong"]
    again = open_book(book.path, ABOUT, go_on=True)
    assert [one["provider"] for one in again.checks] == ["wrong", LOGITS]


class Event:
    """A device's clock that goes on by a millisecond at each event."""

    ticks = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        Event.ticks += 1.0
        self.at = Event.ticks

    def elapsed_time(self, stop: "Event") -> float:
        return stop.at - self.at


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run asks of a device, answered by the CPU: a rehearsal, no measurement."""
    for name in ("synchronize", "reset_peak_memory_stats", "empty_cache", "_sleep"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    for name in ("memory_allocated", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda: 1 << 20)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(measure, "FLUSH_BYTES", 1)
    monkeypatch.setitem(SHAPES, "smollm2-135m", (16, 61))
    small = cases.Size(tokens=48, depth=16, vocabulary=61, sequence=12, dtype=torch.float32)
    monkeypatch.setattr(cases, "Size", lambda **_: small)


@pytest.mark.usefixtures("pretended_gpu")
def test_a_run_from_the_check_to_the_page(tmp_path: Path) -> None:
    def breaks_on_masks(case: cases.Case) -> Outcome:
        if case.mask.shape[0] == 48 and not case.mask.all():
            raise RuntimeError("out of memory")
        return PROVIDERS[LOGITS].make()(case)

    book = Book(path=tmp_path / "run.json", about=dict(ABOUT))
    floor = "three bare products (no loss)"
    losses = {
        OURS: PROVIDERS["headrace, plain torch"].make(),
        LOGITS: PROVIDERS[LOGITS].make(),
        floor: PROVIDERS[floor].make(),
        "cut cross-entropy (whole)": breaks_on_masks,
    }
    runner = session.Runner(book, losses, frozenset([floor]), 5, CPU)
    wanted = grid(["smollm2-135m"], [MAIN_TOKENS])
    session.run_cases(book, wanted, runner, seconds=None)
    report.main([str(book.path)])
    assert book.finished == [spec.label for spec in wanted]
    masked = key("cut cross-entropy (whole)", wanted[1].label)
    assert book.absent == {masked: "RuntimeError: out of memory"}
    by_case = [[row["provider"] for row in book.results if row["case"] == s.label] for s in wanted]
    assert [len(rows) for rows in by_case] == [4, 3, 4, 4, 4]
    for row in book.results:
        assert row["turns"] == 5
        assert row["repeats"]
        assert row["provider"] == floor or row["errors"]["grad_hidden"] < 1e-5
    page = (tmp_path / "run.md").read_text()
    assert all(f"## {spec.label}" in page for spec in wanted)
    assert "out of memory" in page


def test_the_verdict_names_who_is_ahead() -> None:
    rows = [
        result(OURS, 82.0, peak_bytes=3 << 30),
        result(LOGITS, 95.0, errors={"grad_hidden": 0.05, "grad_weight": 0.006}),
        result("cut cross-entropy (whole)", 80.0, peak_bytes=2 << 30),
        result("headrace, in 256 MiB", 70.0, peak_bytes=1 << 30),
        result("three bare products (no loss)", 60.0, peak_bytes=1 << 30, errors={}),
    ]
    (found,) = verdict.verdicts(rows, rate=700e12)
    assert found.slower == ("cut cross-entropy (whole)",)
    assert found.faster == (LOGITS,)
    assert found.leaner == ("cut cross-entropy (whole)",)
    assert found.leanest == "headrace, in 256 MiB"
    assert found.leaner_still == ()
    # 6·16384·4096·128256 at 700 TFLOP/s is 73.8 ms.
    assert found.share == pytest.approx(73.8 / 82.0, rel=1e-3)
    assert found.less_error == pytest.approx((25.0, 2.0))
    (_, _, line) = verdict.lines([found], "NVIDIA H200")
    assert "≤ 83: met" in line
    assert "**no**: cut cross-entropy (whole)" in line
    assert "“headrace, in 256 MiB”: yes" in line
    assert "25.0×, 2.0×: **not met**" in line
    assert "another card" in verdict.lines([found], "NVIDIA H100 80GB HBM3")[2]


def test_without_a_peer_nothing_is_claimed() -> None:
    (found,) = verdict.verdicts([result(OURS, 82.0)], rate=700e12)
    (_, _, line) = verdict.lines([found], "NVIDIA H200")
    assert "no peer ran" in line
    assert "not compared" in line
