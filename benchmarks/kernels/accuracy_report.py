"""Tables and plot of the errors measured on a CPU."""

from pathlib import Path
from typing import Any

from benchmarks.kernels.providers import LOGITS, OURS

OURS_IN_TORCH = "headrace, plain torch"
SHOWN = ("grad_hidden", "grad_weight", "logp", "logp_mean", "loss")
HEAD = (
    "| | dX | dW | log-prob., largest, nat | log-prob., mean, nat | loss |",
    "|---|---|---|---|---|---|",
)


def write(content: dict[str, Any], path: Path) -> None:
    """A Markdown page and a plot beside the JSON file."""
    about = content["about"]
    versions = {**about["versions"], **about["peers"]}
    lines = [
        "# Errors of the loss on an LM head, measured on a CPU",
        "",
        f"**{about['machine']}. Errors only: nothing here was timed, and no GPU took part.** "
        f"{about['date']}; {', '.join(f'{name} {number}' for name, number in versions.items())}. "
        "Repeat: `python -m benchmarks.kernels.accuracy`.",
        "",
        "bf16 hidden states and head; the DAPO loss (clip 0.2 and 0.28, token mean). dX and dW: "
        "relative Frobenius norm of the difference to float64 on the same bf16 inputs; loss: "
        "difference over the sum of absolute row losses. A CPU's bf16 product adds up in fp32 and "
        "rounds once, as a GPU's does. Triton kernels ran in Triton's interpreter, made to round "
        "to bf16 as devices do, and only at the smaller size.",
        "",
        "## How much smaller our gradients' error is than that of whole bf16 logits",
        "",
        *ratios(content["settings"]),
        "",
    ]
    for setting in content["settings"]:
        lines += [f"## {setting['name']}", "", _about(setting), ""]
        lines += [*table(setting["routes"]), ""]
    lines += ["## Absent", "", *(f"- {n}: {why}" for n, why in content["absent"].items()), ""]
    path.with_suffix(".md").write_text("\n".join(lines))
    plot(content["settings"], path.with_suffix(".png"))


def _about(setting: dict[str, Any]) -> str:
    return (
        f"Mean entropy {setting['entropy']:.2f} nat; a row's largest logit is "
        f"{setting['largest_logit']:.1f} on average."
    )


def ratios(settings: list[dict[str, Any]]) -> list[str]:
    """Error of the bf16-logits route over each of ours."""
    lines = ["| | ours | dX | dW |", "|---|---|---|---|"]
    for setting in settings:
        theirs = setting["routes"][LOGITS]
        for name in (OURS_IN_TORCH, OURS):
            mine = setting["routes"].get(name)
            if mine:
                dx, dw = (theirs[f] / mine[f] for f in ("grad_hidden", "grad_weight"))
                kind = "Triton, interpreted" if name == OURS else "plain torch"
                lines.append(f"| {setting['name']} | {kind} | {dx:.1f}× | {dw:.1f}× |")
    return lines


def table(routes: dict[str, dict[str, float | None]]) -> list[str]:
    """Of one setting, the smallest error of dX first."""
    lines = list(HEAD)
    for name, errors in sorted(routes.items(), key=lambda item: item[1]["grad_hidden"] or 0.0):
        figures = [errors[field] for field in SHOWN]
        cells = ["" if figure is None else f"{figure:.1e}" for figure in figures]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def plot(settings: list[dict[str, Any]], path: Path) -> None:
    """dX of every route, a line for each setting."""
    try:
        from matplotlib import pyplot
    except ImportError:
        return
    figure, axis = pyplot.subplots(figsize=(9, 0.45 * len(settings) + 1.2))
    marks = {
        "headrace, plain torch": ("o", "tab:blue"),
        "headrace, Triton (interpreter)": ("D", "tab:cyan"),
        "peers, and torch on whole bf16 logits": ("|", "tab:red"),
    }
    for height, setting in enumerate(settings):
        for name, errors in setting["routes"].items():
            shape, colour = list(marks.values())[_kind(name)]
            axis.scatter(errors["grad_hidden"], height, marker=shape, color=colour, s=45)
    for label, (shape, colour) in marks.items():
        axis.scatter([], [], marker=shape, color=colour, label=label)
    names = [one["name"].replace(", ", "\n", 1) for one in settings]
    axis.set_yticks(range(len(settings)), names, fontsize=7)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlabel("relative error of dX against float64 (measured on a CPU, bf16)", fontsize=8)
    axis.grid(axis="x", alpha=0.3)
    axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=90, bbox_inches="tight")
    pyplot.close(figure)


def _kind(name: str) -> int:
    """Which mark of the plot."""
    if not name.startswith(OURS):
        return 2
    return 0 if name == OURS_IN_TORCH else 1
