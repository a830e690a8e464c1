"""Bias and noise of the credit methods on processes whose advantages are known exactly.

`python -m benchmarks.credit.run`; writes JSON and a table to `benchmarks/results/`.
"""

import argparse
import json
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.credit.measure import Candidate, Measured, measure
from benchmarks.credit.process import Process
from benchmarks.credit.processes import everything
from benchmarks.credit.report import markdown
from benchmarks.credit.sample import walk
from benchmarks.machine import machine

RESULTS = Path(__file__).parents[1] / "results"
CANDIDATES = (
    *(Candidate(call="uniform", baseline=b) for b in ("none", "dr_grpo", "rloo", "grpo")),
    Candidate(call="uniform", baseline="leave_one_out"),
    Candidate(call="discounted(0.7)"),
    Candidate(call="tool_outcome(0.5)"),
    Candidate(call="turn_groups(1)"),
    Candidate(call="to_go(1)"),
    Candidate(call="to_go(0.7)"),
    Candidate(call="potential(1)"),
    Candidate(call="gigpo(0.95,1)"),
    Candidate(call="gigpo(1,1)"),
    Candidate(call="counterfactual(1)"),
    Candidate(call="counterfactual(1)", baseline="rloo"),
    Candidate(call="turn_gae(1,1)"),
    Candidate(call="turn_gae(1,0.5)"),
    Candidate(call="turn_gae(1,0.5)", critic_error=0.3),
)


def run(processes: list[Process], groups: int, size: int, seed: int) -> dict[str, Any]:
    """Every candidate on the same `groups` groups of `size` episodes of each process."""
    found: dict[str, dict[str, Measured]] = {}
    calls: dict[str, float] = {}
    for process in processes:
        chance = np.random.default_rng(seed)
        walks = [[walk(process, chance) for _ in range(size)] for _ in range(groups)]
        calls[process.name] = float(np.mean([len(w.states) for each in walks for w in each]))
        found[process.name] = {
            candidate.name: measure(process, walks, candidate, seed) for candidate in CANDIDATES
        }
    return {
        "date": date.today().isoformat(),
        "machine": _machine(),
        "groups": groups,
        "episodes_a_group": size,
        "seed": seed,
        "processes": {
            process.name: {
                "about": process.about,
                "return": float(process.values()[0]),
                "calls": calls[process.name],
                "rewards_aimed_at_calls": process.told,
                "methods": {name: asdict(one) for name, one in found[process.name].items()},
            }
            for process in processes
        },
    }


def _machine() -> str:
    told = machine()
    return f"{told['cores']} cores {told['processor']} ({', '.join(told['flags'])})"


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=4000)
    parser.add_argument("--size", type=int, default=8, help="episodes of a group")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, default=RESULTS)
    options = parser.parse_args()
    result = run(everything(), options.groups, options.size, options.seed)
    options.directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1, allow_nan=False)
    (options.directory / "credit.json").write_text(text + "\n", encoding="utf-8")
    (options.directory / "credit.md").write_text(markdown(result), encoding="utf-8")
    print(markdown(result))


if __name__ == "__main__":
    main()
