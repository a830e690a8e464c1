"""One run on a GPU: checks, then case after case, each written when it is done."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import NamedTuple

import torch
from benchmarks.kernels import cases, measure
from benchmarks.kernels.book import Book, Result, key
from benchmarks.kernels.check import check, describe, references
from benchmarks.kernels.exact import Errors, Exact, errors, exact
from benchmarks.kernels.grid import SHAPES, Spec
from benchmarks.kernels.routes import Absent, Loss, Provider

ERROR_ROWS = 4096
"""Rows compared with float64: several blocks of every route, half a second on a Hopper GPU."""
CHECK = "the check"


WARM_UP = 3


class First(NamedTuple):
    """What is known of a provider on a case before it is timed."""

    errors: Errors | None
    memory: measure.Memory
    repeats: bool


class DeviceFailed(Exception):
    """The device can be used no more in this process. What it died of is in the book."""


def tell(line: str) -> None:
    """A line of progress."""
    print(line, flush=True)


def check_all(book: Book, providers: Sequence[Provider], device: torch.device) -> dict[str, Loss]:
    """The providers that compute the loss; those that do not are noted as absent."""
    exacts: dict[str, Exact] | None = None
    known = {one["provider"]: one for one in book.checks}
    losses: dict[str, Loss] = {}
    for provider in providers:
        what = key(provider.name, CHECK)
        if what in book.absent:
            continue
        try:
            if provider.kind != "floor" and provider.name not in known:
                exacts = exacts or references(device)
                with book.running(what):
                    found = check(provider, device, exacts)
                    assert_alive(device, found.reason)
                known[provider.name] = asdict(found)
                book.checks.append(known[provider.name])
            reason = known.get(provider.name, {}).get("reason")
            if reason:
                book.absent[provider.name] = reason
            else:
                losses[provider.name] = provider.ready(device)
        except Absent as error:
            book.absent[provider.name] = str(error)
        tell(f"  {provider.name}: {book.absent.get(provider.name, 'takes part')}")
        book.write()
    return losses


def run_cases(
    book: Book,
    specs: Sequence[Spec],
    run_one: Callable[[Spec], None],
    *,
    seconds: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Runs what is not finished yet; stops after the case in which the time was spent."""
    begun = clock()
    for number, spec in enumerate(specs, 1):
        if spec.label in book.finished:
            continue
        if seconds is not None and clock() - begun >= seconds:
            book.left_out.append(spec.label)
            continue
        tell(f"[{number}/{len(specs)}, {clock() - begun:.0f} s] {spec.label}")
        run_one(spec)
        book.finished.append(spec.label)
        book.write()
    book.write()


class Runner:
    """Runs one case after the other with the same losses."""

    def __init__(
        self,
        book: Book,
        losses: dict[str, Loss],
        floors: frozenset[str],
        turns: int,
        device: torch.device,
        slow_turns: int | None = None,
    ) -> None:
        self.book, self.losses, self.floors, self.turns = book, losses, floors, turns
        self.device, self.slow_turns = device, slow_turns
        self._base: tuple[tuple[str, int], cases.Case] | None = None

    def __call__(self, spec: Spec) -> None:
        case = self._case(spec)
        first = self._first(spec, case)
        losses = {name: self.losses[name] for name in first}
        turns = measure.Turns(losses, case, slow_turns=self.slow_turns)
        turns.take(WARM_UP, keep=False)
        turns.take(self.turns)
        for name, why in turns.failed.items():
            self.book.absent[key(name, spec.label)] = why
            assert_alive(self.device, why)
        operations = 6 * int(case.mask.sum()) * case.hidden.shape[1] * case.weight.shape[0]
        for name, times in turns.milliseconds.items():
            median, low, high = measure.spread(times)
            one = first[name]
            row = Result(
                provider=name,
                case=spec.label,
                milliseconds=median,
                low=low,
                high=high,
                turns=len(times),
                peak_bytes=one.memory.peak,
                saved_bytes=one.memory.saved,
                useful_teraflops=operations / median / 1e9,
                repeats=one.repeats,
                errors=asdict(one.errors) if one.errors else {},
            )
            self.book.results.append(asdict(row))
            tell(f"  {name}: {median:.2f} ms, {one.memory.peak >> 20} MiB")
        torch.cuda.empty_cache()

    def _case(self, spec: Spec) -> cases.Case:
        wanted = (spec.shape, spec.tokens)
        if self._base is None or self._base[0] != wanted:
            self._base = None
            torch.cuda.empty_cache()
            depth, vocabulary = SHAPES[spec.shape]
            size = cases.Size(tokens=spec.tokens, depth=depth, vocabulary=vocabulary)
            self._base = (wanted, cases.make_case(size, self.device))
        case = self._base[1]
        if spec.masked:
            case = cases.masked(case, spec.masked)
        case = cases.with_loss(case, spec.loss)
        return cases.compacted(case) if spec.compacted else case

    def _first(self, spec: Spec, case: cases.Case) -> dict[str, First]:
        """Of every provider that can run this case: it is compiled and warm afterwards."""
        reference = exact(case, ERROR_ROWS)
        found: dict[str, First] = {}
        for name, loss in self.losses.items():
            what = key(name, spec.label)
            if what in self.book.absent:
                continue
            with self.book.running(what):
                try:
                    found[name] = First(
                        None if name in self.floors else errors(loss, reference),
                        measure.memory(loss, case),
                        measure.repeats(loss, case),
                    )
                except Exception as error:  # a peer's failure is a finding
                    self.book.absent[what] = describe(error)
                    tell(f"  {name}: {describe(error)}")
                    assert_alive(self.device, describe(error))
                torch.cuda.empty_cache()
        return found


def assert_alive(device: torch.device, reason: str | None) -> None:
    """Raises DeviceFailed where an error has left the device unusable for this process."""
    if reason is None or device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
    except Exception as error:
        raise DeviceFailed(reason) from error
