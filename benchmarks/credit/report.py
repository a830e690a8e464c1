"""The results as a table."""

from collections.abc import Mapping
from typing import Any

_HEAD = """# Credit methods against exactly known advantages

{machine}; {date}. {groups} groups of {episodes_a_group} episodes for each process,
the same for every method (seed {seed}): `python -m benchmarks.credit.run`. Nothing is timed.

Each cell is *bias / noise* of the gradient that a group gives an optimiser, after the best scale
(an optimiser's rate sets the scale, and methods differ in it), as shares of the true gradient's
length. Bias 0 is right, 1 tells nothing of the direction; its standard error is {worst:.2f} or
less, so a bias below twice that is none that was seen. Noise is that of one group; n groups have
1/√n of it.
`away`: the method's mean points away from the true gradient.
"""


def markdown(result: Mapping[str, Any]) -> str:
    """A page of a run's results."""
    processes = result["processes"]
    errors = [m["bias_error"] for p in processes.values() for m in p["methods"].values()]
    lines = [_HEAD.format(worst=max(errors), **result)]
    lines.append("| process | what it is | return | calls | rewards of calls |")
    lines.append("|---|---|---|---|---|")
    for name, one in processes.items():
        told = "told" if one["rewards_aimed_at_calls"] else "not told"
        about = one["about"]
        lines.append(f"| {name} | {about} | {one['return']:.3f} | {one['calls']:.1f} | {told} |")
    lines += ["", f"| call / baseline | {' | '.join(processes)} |"]
    lines.append("|---|" + "---|" * len(processes))
    for method in next(iter(processes.values()))["methods"]:
        cells = [_cell(one["methods"][method]) for one in processes.values()]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(one: Mapping[str, Any]) -> str:
    if one["noise"] is None:
        return "away"
    return f"{one['bias']:.2f} / {one['noise']:.1f}"
