"""Times the loss on an LM head beside its peers, on one GPU.

`python -m benchmarks.kernels.run` from the repository's root; `--help` for the grid. Writes a table
(Markdown), all figures (JSON) and a plot (where matplotlib is installed) to `benchmarks/results/`.
Exits 2 where there is no CUDA device: nothing is then written.
"""

import argparse
import json
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from benchmarks.kernels.measure import Result

RESULTS = Path(__file__).parents[1] / "results"


def main(argv: list[str] | None = None) -> int:
    """Runs the grid; gives the exit code."""
    options = _options(argv)
    if not torch.cuda.is_available():
        print("benchmarks.kernels: no CUDA device here, so nothing was timed", file=sys.stderr)
        return 2
    from benchmarks.kernels import cases, measure, providers

    losses, absent = {}, {}
    for name, make in providers.PROVIDERS.items():
        try:
            losses[name] = make()
        except providers.Absent as error:
            absent[name] = str(error)
    found: list[measure.Result] = []
    for shape in options.shapes:
        for tokens in options.tokens:
            for masked in options.masked:
                loss = cases.DAPO_KL if options.kl else cases.DAPO
                case = cases.make_case(shape, tokens, loss, masked)
                label = f"{shape} N={tokens} masked={masked:.0%} H̄={case.entropy:.2f}"
                print(label, flush=True)
                exact = measure.exact_slice(case)
                able = {}
                for name, one in losses.items():
                    try:
                        measure.once(one, case)
                        able[name] = one
                    except Exception as error:  # a peer's failure is a finding, not ours to raise
                        if name.startswith("headrace"):
                            raise
                        absent[f"{name} on {label}"] = f"{type(error).__name__}: {error}"[:200]
                    torch.cuda.empty_cache()
                times = measure.interleaved(able, case, repeats=options.repeats)
                for name, one in able.items():
                    row = measure.result(name, one, case, label, times[name], exact)
                    found.append(row)
                    print(f"  {row.provider}: {row.milliseconds:.2f} ms", flush=True)
                del case, exact
                torch.cuda.empty_cache()
    _write(found, absent, options.name)
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.kernels.run", description=__doc__)
    names = ["smollm2-135m", "qwen2.5-0.5b", "qwen3-1.7b", "qwen2.5-7b", "llama-3.1-8b"]
    parser.add_argument("--shapes", nargs="+", default=names, choices=names)
    parser.add_argument("--tokens", nargs="+", type=int, default=[8192, 16384, 32768])
    parser.add_argument("--masked", nargs="+", type=float, default=[0.0, 0.9])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--kl", action="store_true", help="with a k3 KL of 0.04")
    parser.add_argument("--name", default="kernels", help="stem of the files written")
    return parser.parse_args(argv)


def _write(found: "list[Result]", absent: dict[str, str], stem: str) -> None:
    import triton

    device = torch.cuda.get_device_name()
    about = {
        "device": device,
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cuda": torch.version.cuda,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    stem = f"{stem}-{device.lower().replace(' ', '-')}-{about['date']}"
    rows = [asdict(row) for row in found]
    content = json.dumps({"about": about, "absent": absent, "results": rows}, indent=1)
    (RESULTS / f"{stem}.json").write_text(content)
    lines = [f"# Loss on an LM head: {device}, {about['date']}", ""]
    lines += [f"torch {about['torch']}, Triton {about['triton']}, CUDA {about['cuda']}.", ""]
    for label in dict.fromkeys(row.case for row in found):
        lines += [f"## {label}", "", *_table([row for row in found if row.case == label]), ""]
    lines += ["## Absent", "", *(f"- {name}: {reason}" for name, reason in absent.items()), ""]
    (RESULTS / f"{stem}.md").write_text("\n".join(lines))
    _plot(found, RESULTS / f"{stem}.png", device)


def _table(rows: "list[Result]") -> list[str]:
    lines = [
        "| | ms (median) | p20-p80 | useful TFLOP/s | peak MiB | dX error | dW error | repeats |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: row.milliseconds):
        lines.append(
            f"| {row.provider} | {row.milliseconds:.2f} | {row.low:.2f}-{row.high:.2f} "
            f"| {row.useful_teraflops:.0f} | {row.peak_bytes / 2**20:.0f} "
            f"| {row.grad_hidden_error:.1e} | {row.grad_weight_error:.1e} "
            f"| {'yes' if row.repeats else 'no'} |"
        )
    return lines


def _plot(found: "list[Result]", path: Path, device: str) -> None:
    try:
        from matplotlib import pyplot
    except ImportError:
        return
    labels = list(dict.fromkeys(row.case for row in found))
    figure, axes = pyplot.subplots(len(labels), 1, figsize=(9, 2.5 * len(labels)), squeeze=False)
    for axis, label in zip(axes[:, 0], labels, strict=True):
        rows = sorted((row for row in found if row.case == label), key=lambda row: row.milliseconds)
        ours = ["tab:blue" if row.provider.startswith("headrace") else "0.6" for row in rows]
        axis.barh([row.provider for row in rows], [row.milliseconds for row in rows], color=ours)
        axis.invert_yaxis()
        axis.set_title(f"{label} ({device})", fontsize=9)
        axis.set_xlabel("ms, forward and backward", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
