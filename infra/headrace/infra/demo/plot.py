"""The picture of a demo: reward by version, and the held-out questions before and after."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headrace.infra.paired import PairedTest

INK, BEFORE, AFTER = "#1f3b57", "#b9c4cf", "#2a7f62"


def draw(
    file: Path, by_version: Sequence[Mapping[str, Any]], test: PairedTest, versions: tuple[int, int]
) -> None:
    """Write the PNG. `by_version` are rows of REWARD_BY_VERSION."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (curve, bars) = plt.subplots(
        1, 2, figsize=(9, 3.6), width_ratios=(2.2, 1), constrained_layout=True
    )
    x = [row["version"] for row in by_version]
    curve.plot(x, [row["reward"] for row in by_version], "o-", color=INK)
    curve.fill_between(
        x,
        [row["low"] for row in by_version],
        [row["high"] for row in by_version],
        color=INK,
        alpha=0.15,
        linewidth=0,
    )
    curve.set(xlabel="policy version", ylabel="mean reward of its episodes", ylim=(0, 1))
    curve.set_title("training episodes (95 % interval)", fontsize=10)
    rates = (test.rate_before, test.rate_after)
    labels = [f"version {version}" for version in versions]
    for bar, rate in zip(bars.bar(labels, rates, color=(BEFORE, AFTER)), rates, strict=True):
        bars.annotate(
            f"{rate:.2f}",
            (bar.get_x() + bar.get_width() / 2, rate),
            ha="center",
            va="bottom",
        )
    bars.set(ylim=(0, 1))
    bars.set_title(f"{len(test.before)} held-out questions, p = {test.p_value:.1g}", fontsize=10)
    for axis in (curve, bars):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=140)
    plt.close(figure)
