"""The tables and the plot of the learning benchmark."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.learning.summary import (
    Mean,
    Run,
    against,
    by_what,
    curves,
    gain,
    mean,
    rate,
    share,
)
from benchmarks.learning.wanted import SETTINGS

SIGNAL = "stuck_loops"
INK, PALE = "#1f3b57", 0.15


def markdown(result: Mapping[str, Any]) -> str:
    """What was run, run by run, over seeds, and settings against each other."""
    about, runs = result["about"], result["runs"]
    lines = [
        "# Do the agents learn?",
        "",
        f"`python -m benchmarks.learning.run`, {about['date']}; {about['cores']} cores "
        f"{about['processor']}, load before {about['load_before']}, Python {about['python']}, "
        + ", ".join(f"{name} {version}" for name, version in result["packages"].items())
        + ". Held-out tasks are asked of version 0 and of the last, with the same seeds; p is "
        "that of the one-sided exact McNemar test; `stuck` is the share of held-out episodes that "
        "repeat themselves.",
        "",
        *_runs(runs),
        "",
        *_over_seeds(runs),
    ]
    if pairs := list(_pairs(runs)):
        lines += ["", *pairs]
    for run in runs:
        if wrong := sum(run["unended"]):
            why = f"{wrong} answers count as wrong since the agent failed or was too slow"
            lines += ["", f"{_name(run)}, seed {run['seed']}: {why}."]
    for name, why in result["left_out"].items():
        lines += ["", f"`{name}` was not run: {why}"]
    return "\n".join(lines) + "\n"


def _runs(runs: Sequence[Run]) -> Iterator[str]:
    yield (
        "| demo | seed | versions | tasks | before | after | better | worse | p | difference, "
        "95 % | stuck | minutes |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for run in runs:
        low, high = run["interval"]
        stuck = [share(run, SIGNAL, version) for version in (0, run["versions"])]
        yield (
            f"| {_name(run)} | {run['seed']} | {run['versions']} | {len(run['after'])} "
            f"| {rate(run['before']):.2f} | {rate(run['after']):.2f} | {run['better']} "
            f"| {run['worse']} | {run['p']:.2g} | {gain(run):+.2f} ({low:+.2f} to {high:+.2f}) "
            f"| {stuck[0]:.2f} → {stuck[1]:.2f} | {run['seconds'] / 60:.0f} |"
        )


def _over_seeds(runs: Sequence[Run]) -> Iterator[str]:
    yield "| demo | seeds | before | after | difference, 95 % over seeds |"
    yield "|---|---|---|---|---|"
    for group in by_what(runs).values():
        before, after, difference = (
            mean([of(run) for run in group])
            for of in (lambda run: rate(run["before"]), lambda run: rate(run["after"]), gain)
        )
        yield (
            f"| {_name(group[0])} | {len(group)} | {before.value:.2f} | {after.value:.2f} "
            f"| {_told(difference)} |"
        )


def _pairs(runs: Sequence[Run]) -> Iterator[str]:
    pairs = against(runs)
    if pairs:
        yield "| last version of | against | seed | better | worse | p | difference, 95 % |"
        yield "|---|---|---|---|---|---|---|"
    for one, other, test in pairs:
        low, high = test.interval
        yield (
            f"| {_name(one)} | {_name(other)} | {one['seed']} | {test.better} | {test.worse} "
            f"| {test.p_value:.2g} | {test.rate_after - test.rate_before:+.2f} "
            f"({low:+.2f} to {high:+.2f}) |"
        )


def _told(one: Mean) -> str:
    return f"{one.value:+.2f}" + (f" ± {one.half:.2f}" if one.count > 1 else " (one seed)")


def _name(run: Run) -> str:
    settings = run["settings"]
    return str(run["demo"]) if settings == SETTINGS else f"{run['demo']}, {settings}"


def draw(file: Path, runs: Sequence[Run]) -> None:
    """Write the PNG: mean reward of the training episodes by version, a panel each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    groups = list(by_what(runs).values())
    figure, panels = plt.subplots(
        1,
        len(groups),
        figsize=(3.4 * len(groups), 3.2),
        sharey=True,
        squeeze=False,
        constrained_layout=True,
    )
    for axis, group in zip(panels[0], groups, strict=True):
        curve = curves(group)
        x = [version for version, _ in curve]
        axis.plot(x, [one.value for _, one in curve], "o-", color=INK, markersize=3)
        if len(group) > 1:
            low, high = ([one.value + sign * one.half for _, one in curve] for sign in (-1, 1))
            axis.fill_between(x, low, high, color=INK, alpha=PALE, linewidth=0)
        axis.set(ylim=(0, 1), xlabel="policy version")
        axis.set_title(f"{_name(group[0])} (seeds: {len(group)})", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("mean reward of its episodes")
    figure.savefig(file, dpi=140)
    plt.close(figure)
