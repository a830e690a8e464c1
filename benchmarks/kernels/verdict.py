"""Whether the targets are met, from the results of a run."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.kernels.grid import MAIN_TOKENS, SHAPES, Spec
from benchmarks.kernels.providers import LOGITS, OURS, PROVIDERS

TARGET_MILLISECONDS = {
    "smollm2-135m": 6.5,
    "qwen2.5-0.5b": 27.0,
    "qwen3-1.7b": 53.0,
    "qwen2.5-7b": 87.0,
    "llama-3.1-8b": 83.0,
}
"""On an H200, forward and backward of 16,384 rows."""
TARGET_SHARE = {
    "smollm2-135m": 0.54,
    "qwen2.5-0.5b": 0.62,
    "qwen3-1.7b": 0.73,
    "qwen2.5-7b": 0.78,
    "llama-3.1-8b": 0.78,
}
"""Of the card's own limit: 6·N·H·V at the rate of the library's bf16 product."""
LESS_ERROR = 5.0
"""How many times smaller the gradients' error must be than by the bf16-logits route."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Verdict:
    """Of one shape."""

    shape: str
    milliseconds: float
    share: float
    """Of the card's own limit."""
    faster: tuple[str, ...]
    """Peers that take longer."""
    slower: tuple[str, ...]
    """Peers that take less time, or as much."""
    leaner: tuple[str, ...]
    """Peers that hold less memory, or as much."""
    leanest: str
    """Which of our settings holds the least, `leaner_still` the peers that hold less even so."""
    leaner_still: tuple[str, ...]
    less_error: tuple[float | None, float | None]
    """Error of the bf16-logits route over ours, of dX and dW."""


def verdicts(results: Iterable[dict[str, Any]], rate: float) -> list[Verdict]:
    """Of each shape that was run at the main size; `rate` in FLOP/s."""
    by_case: dict[str, dict[str, dict[str, Any]]] = {}
    for row in results:
        by_case.setdefault(row["case"], {})[row["provider"]] = row
    found = []
    for shape in SHAPES:
        rows = by_case.get(Spec(shape=shape, tokens=MAIN_TOKENS).label, {})
        if OURS in rows:
            found.append(_verdict(shape, rows, rate))
    return found


def lines(found: Iterable[Verdict], device: str) -> list[str]:
    """As Markdown."""
    on_h200 = "H200" in device
    out = [
        "| | ms | target on an H200 | share of the card's limit | faster than each peer "
        "| least memory | error of dX, dW at least 5× smaller |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        target = TARGET_MILLISECONDS[one.shape]
        time = _met(one.milliseconds <= target) if on_h200 else "another card"
        share = f"{one.share:.0%} (≥ {TARGET_SHARE[one.shape]:.0%}): " + _met(
            one.share >= TARGET_SHARE[one.shape]
        )
        out.append(
            f"| {one.shape} | {one.milliseconds:.2f} | ≤ {target:g}: {time} | {share} "
            f"| {_among(one.slower, len(one.faster))} | {_memory(one)} "
            f"| {_error(one)} |"
        )
    return out


def _verdict(shape: str, rows: dict[str, dict[str, Any]], rate: float) -> Verdict:
    ours = rows[OURS]
    peers = {name: row for name, row in rows.items() if PROVIDERS[name].kind == "peer"}
    depth, vocabulary = SHAPES[shape]
    limit = 6 * MAIN_TOKENS * depth * vocabulary / rate * 1e3

    def ratio(name: str) -> float | None:
        theirs = rows.get(LOGITS, {}).get("errors", {}).get(name)
        mine = ours["errors"].get(name)
        return theirs / mine if theirs and mine else None

    def less(field: str, than: dict[str, Any] = ours) -> tuple[str, ...]:
        return tuple(name for name, row in peers.items() if row[field] <= than[field])

    slower = less("milliseconds")
    settings = [name for name in rows if PROVIDERS[name].kind == "ours"]
    leanest = min(settings, key=lambda name: int(rows[name]["peak_bytes"]))
    return Verdict(
        shape=shape,
        milliseconds=ours["milliseconds"],
        share=limit / ours["milliseconds"],
        faster=tuple(name for name in peers if name not in slower),
        slower=slower,
        leaner=less("peak_bytes"),
        leanest=leanest,
        leaner_still=less("peak_bytes", rows[leanest]),
        less_error=(ratio("grad_hidden"), ratio("grad_weight")),
    )


def _met(met: bool) -> str:
    return "met" if met else "**not met**"


def _among(ahead: tuple[str, ...], others: int) -> str:
    if ahead:
        return f"**no**: {', '.join(ahead)}"
    return "yes" if others else "no peer ran"


def _memory(one: Verdict) -> str:
    peers = len(one.faster) + len(one.slower)
    cell = _among(one.leaner, peers)
    if one.leaner and one.leanest != OURS:
        cell += f"; “{one.leanest}”: {_among(one.leaner_still, peers)}"
    return cell


def _error(one: Verdict) -> str:
    if any(ratio is None for ratio in one.less_error):
        return "not compared: the route did not run"
    first, second = (ratio or 0.0 for ratio in one.less_error)
    return f"{first:.1f}×, {second:.1f}×: {_met(min(first, second) >= LESS_ERROR)}"
