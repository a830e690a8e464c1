"""Errors of every route that a CPU can run, in bf16, against float64. No times.

`python -m benchmarks.kernels.accuracy` from the repository's root, a few minutes; the peers that
are installed take part, Triton kernels in Triton's interpreter. Writes `accuracy-cpu` as JSON,
Markdown and (where matplotlib is installed) a plot to `benchmarks/results/`.
"""

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

import torch
from benchmarks.kernels import trained_model
from benchmarks.kernels.book import RESULTS, versions
from benchmarks.kernels.cases import Case, Size, make_case

if TYPE_CHECKING:
    from benchmarks.kernels.routes import Provider

WHOLE = (576, 49152)
"""Hidden size and vocabulary of SmolLM2-135M."""
PART = (128, 4096)
"""Small enough for kernels in the interpreter."""
SKIPPED = {
    "Liger fused linear GRPO, TF32": "no TF32 on a CPU: the same as without",
    "headrace, in 256 MiB": "the same path as without at this size",
    "headrace, in 64 MiB": "the same path as without at this size",
}


@dataclass(kw_only=True, slots=True, frozen=True)
class Setting:
    """One batch."""

    name: str
    size: Size | None
    """None: hidden states, head and sampled tokens of a trained model."""
    interpreted: bool
    """Whether Triton kernels take part: the interpreter needs seconds for a thousand rows."""
    spread: bool = False


SETTINGS = (
    Setting(name=trained_model.NAME, size=None, interpreted=False),
    *(
        Setting(
            name=f"H={WHOLE[0]} V={WHOLE[1]}, entropy {entropy} nat",
            size=Size(
                tokens=512, depth=WHOLE[0], vocabulary=WHOLE[1], sequence=64, entropy=entropy
            ),
            interpreted=False,
        )
        for entropy in (0.5, 1.0, 1.5)
    ),
    Setting(
        name=f"H={WHOLE[0]} V={WHOLE[1]}, entropy 1.0 nat, ratios across the clip's bounds",
        size=Size(tokens=512, depth=WHOLE[0], vocabulary=WHOLE[1], sequence=64, entropy=1.0),
        interpreted=False,
        spread=True,
    ),
    *(
        Setting(
            name=f"H={PART[0]} V={PART[1]}, logits of deviation {deviation:g}",
            size=Size(
                tokens=128,
                depth=PART[0],
                vocabulary=PART[1],
                sequence=16,
                entropy=None,
                deviation=deviation,
            ),
            interpreted=True,
        )
        for deviation in (1.0, 3.0, 6.0, 10.0)
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Measures all settings and writes the files."""
    parser = argparse.ArgumentParser(prog="benchmarks.kernels.accuracy", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args(argv)
    from benchmarks.kernels import accuracy_report
    from benchmarks.kernels.rounding import bf16_is_rounded

    with bf16_is_rounded():
        found, absent = measure(SETTINGS)
    content = {"about": _about(), "absent": absent, "settings": found}
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "accuracy-cpu.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    accuracy_report.write(content, path)
    return 0


def measure(settings: tuple[Setting, ...]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Errors of every route on every setting, and which routes are absent, and why."""
    from benchmarks.kernels.check import describe
    from benchmarks.kernels.exact import errors, exact
    from benchmarks.kernels.routes import Absent

    found: list[dict[str, Any]] = []
    absent = dict(SKIPPED)
    for setting in settings:
        case = trained_model.case() if setting.size is None else _random(setting)
        reference = exact(case, case.targets.shape[0])
        routes: dict[str, dict[str, float | None]] = {}
        print(f"{setting.name}: entropy {case.entropy:.2f} nat", flush=True)
        for provider in _routes():
            if provider.name in absent or (provider.device == "triton" and not setting.interpreted):
                continue
            try:
                one = errors(provider.ready(torch.device("cpu")), reference)
            except Absent as error:
                absent[provider.name] = str(error)
            except Exception as error:  # a peer's failure is a finding: it becomes the reason
                absent[provider.name] = describe(error)
            else:
                routes[provider.name] = asdict(one)
                print(f"  {provider.name}: dX {one.grad_hidden:.1e}, dW {one.grad_weight:.1e}")
        found.append(
            {
                "name": setting.name,
                "entropy": case.entropy,
                "largest_logit": _largest_logit(case),
                "routes": routes,
            }
        )
    return found, absent


def _random(setting: Setting) -> Case:
    assert setting.size is not None
    return make_case(setting.size, torch.device("cpu"), spread=setting.spread)


def _largest_logit(case: Case) -> float:
    """Mean over the rows of each one's largest: what bf16 rounds it to is 2^-9 of it, at most."""
    logits = case.hidden.detach().float() @ case.weight.detach().float().t()
    return float(logits.amax(-1).mean())


def _routes() -> "list[Provider]":
    from benchmarks.kernels.providers import ALL, bf16_log_softmax
    from benchmarks.kernels.routes import Provider

    plain = Provider(
        name="torch, log-softmax of bf16 logits in bf16", make=lambda: bf16_log_softmax
    )
    return [plain, *(one for one in ALL if one.kind != "floor")]


def _about() -> dict[str, Any]:
    return {
        "machine": f"CPU, {platform.machine()}, {os.cpu_count()} cores; no GPU",
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "versions": versions(("torch", "triton", "numpy")),
        "peers": versions(),
    }


if __name__ == "__main__":
    sys.exit(main())
