"""What a step of the trainer costs by each algorithm, what a version takes on disk, and for how
long the loop stands still for it; beside the trainer of before, and TRL's.

`python -m benchmarks.trainer.run --before PATH` from the repository's root, on a quiet machine.
PATH is a worktree of the commit to compare with (`git worktree add PATH 48d00ec`); TRL is run where
`make trl` has made its environment. All take the same calls of the same model and step in turn, so
that whatever else the machine does meets all of them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import about
from benchmarks.trainer.report import markdown

from headrace.infra.embedded.artifacts import cache_dir
from headrace.infra.embedded.models import bundled_model

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PORTIONS = ("schemas", "connectors", "kernels", "trainer")
TRL_PRESET = "dr_grpo"
"""What TRL's loss of that name is compared with."""
PRESETS = ("grpo", "dr_grpo", "rloo", "reinforce_pp", "ppo", "dapo", "gspo", "cispo")


class Peer:
    """A process that takes steps."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, what: str, **more: Any) -> dict[str, Any]:
        """Its answer to one line; raises RuntimeError where it has ended."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        process.stdin.flush()
        while line := process.stdout.readline():
            if line.startswith("{"):
                told: dict[str, Any] = json.loads(line)
                return told
        raise RuntimeError(f"a worker ended with exit code {process.wait()}: see what it wrote")

    def close(self) -> None:
        """End it."""
        with self._process:  # closes its pipes, and waits for it
            pass


def run(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """Every algorithm, by every peer in turn."""
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        peers = {name: stack.enter_context(closing(peer)) for name, peer in _peers(options, model)}
        for preset in options.presets:
            taking = {n: p for n, p in peers.items() if n != "trl" or preset == TRL_PRESET}
            found[preset] = _measured(taking, preset, options.steps)
            line = {name: round(one["step_seconds"], 3) for name, one in found[preset].items()}
            print(f"{preset}: {line}", flush=True)
    return {**about(options), "presets": found}


def _measured(peers: dict[str, Peer], preset: str, steps: int) -> dict[str, Any]:
    told = {name: peer.ask("prepare", preset=preset) for name, peer in peers.items()}
    times: dict[str, list[float]] = {name: [] for name in peers}
    for number in range(steps + 1):  # the first warms up
        for name, peer in peers.items():
            seconds = peer.ask("step")["seconds"]
            if number:
                times[name].append(seconds)
    for name, peer in peers.items():
        told[name] |= {"step_seconds": median(times[name]), "all_steps": times[name]}
        if name != "trl":
            told[name]["at_once"] = peer.ask("save", gather=0.0)
            told[name]["gathering"] = peer.ask("save", gather=told[name]["step_seconds"])
    return told


def _peers(options: argparse.Namespace, model: Path) -> Iterator[tuple[str, Peer]]:
    arguments = [str(model), str(options.threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    own = [sys.executable, "-m", "benchmarks.trainer.worker", *arguments]
    trees = {"now": ROOT, "before": options.before}
    for name, tree in trees.items():
        if tree is not None:  # its portions of the namespace come before the installed ones
            path = [*(str(tree.resolve() / one) for one in PORTIONS), str(ROOT)]
            yield name, Peer(own, {**environment, "PYTHONPATH": os.pathsep.join(path)})
    if options.trl.exists():
        command = [str(options.trl), "-m", "benchmarks.trainer.trl_worker", *arguments]
        yield "trl", Peer(command, {**environment, "PYTHONPATH": str(ROOT)})


def made(directory: Path, layers: int, source: Path) -> Path:
    """The model with so many of its layers, in a directory of its own; 0: all, where it lies."""
    if layers == 0:
        return source
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(
        source, num_hidden_layers=layers, dtype="bfloat16", local_files_only=True
    )
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(directory)
    return directory


def main(argv: Sequence[str] | None = None) -> int:
    """Writes a JSON file and a page with tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--before", type=Path, help="worktree of the commit to compare with")
    parser.add_argument("--trl", type=Path, default=ROOT / ".venv-trl" / "bin" / "python")
    parser.add_argument("--model", type=Path, help="model directory; by default the bundled one")
    parser.add_argument("--layers", type=int, default=0, help="only so many of its layers; 0: all")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--note", default="", help="what the reader has to know of the machine")
    parser.add_argument("--directory", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as directory:
        source = options.model or bundled_model(cache_dir())
        result = run(options, made(Path(directory), options.layers, source))
    result["options"] = {name: str(value) for name, value in result["options"].items()}
    options.directory.mkdir(parents=True, exist_ok=True)
    name = f"trainer-{result['cores']}-cores-{result['date']}"
    (options.directory / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    page = markdown(result)
    (options.directory / f"{name}.md").write_text(page)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
