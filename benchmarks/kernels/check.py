"""Whether every provider computes the same loss: a tiny batch against float64."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from benchmarks.kernels.cases import Case, Size, make_case, masked, with_loss
from benchmarks.kernels.exact import Errors, Exact, errors, exact
from benchmarks.kernels.routes import Absent, Provider

LIMIT = 0.05
"""Above it, in value or in a gradient, a route computes another loss."""
ON_GPU = Size(tokens=512, depth=256, vocabulary=5000, sequence=64, entropy=None, deviation=2.0)
"""Logits small enough for bf16: at an entropy of 1 nat its rounding alone passes the limit."""
ON_CPU = Size(tokens=32, depth=128, vocabulary=520, sequence=8, dtype=torch.float32)
CASES = {"dapo": 0.0, "dapo-kl": 0.6, "gspo": 0.6}
"""Losses, and the share of rows outside the mask."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Check:
    """What came of one provider."""

    provider: str
    errors: dict[str, Errors]
    """By loss; empty where it did not run."""
    reason: str | None
    """Why it takes no part; None where it may."""


def references(device: torch.device) -> dict[str, Exact]:
    """The tiny batches with what float64 gives of them."""
    base = make_case(ON_GPU if device.type == "cuda" else ON_CPU, device)
    return {name: exact(_case(base, name, share), 1 << 30) for name, share in CASES.items()}


def check(provider: Provider, device: torch.device, exacts: dict[str, Exact]) -> Check:
    """Runs the provider on every tiny batch."""
    found: dict[str, Errors] = {}
    try:
        loss = provider.ready(device)
        for name, reference in exacts.items():
            found[name] = errors(loss, reference)
    except Exception as error:  # a peer's failure is a finding: it becomes the reason
        return Check(provider=provider.name, errors=found, reason=describe(error))
    return Check(provider=provider.name, errors=found, reason=_verdict(found))


def describe(error: Exception) -> str:
    """An exception in a line."""
    if isinstance(error, Absent):
        return str(error)
    text = f"{type(error).__name__}: {error}".strip()
    return " ".join(text.split())[:300]


def checked(
    providers: Iterable[Provider], device: torch.device, exacts: dict[str, Exact]
) -> Iterator[Check]:
    """All that claim to give a loss."""
    for provider in providers:
        if provider.kind != "floor":
            yield check(provider, device, exacts)


def table(checks: Sequence[Check]) -> list[str]:
    """As Markdown: the worst error of value and of each gradient over the tiny batches."""
    lines = ["| | state | loss | dX | dW |", "|---|---|---|---|---|"]
    for one in checks:
        state = "ran" if one.reason is None else one.reason
        figures = [
            f"{max(getattr(e, field) for e in one.errors.values()):.1e}" if one.errors else ""
            for field in ("loss", "grad_hidden", "grad_weight")
        ]
        lines.append(f"| {one.provider} | {state} | {' | '.join(figures)} |")
    return lines


def _case(base: Case, name: str, share: float) -> Case:
    return with_loss(masked(base, share) if share else base, name)


def _verdict(found: dict[str, Errors]) -> str | None:
    for name, error in found.items():
        if not error.worst <= LIMIT:  # NaN is above every limit
            return f"computes another loss: on {name} it is off by {error.worst:.1%}"
    return None
