"""Takes steps and saves versions, as told by lines of JSON: of the sources on its path.

So today's trainer and one of before run side by side, step about. Uses what both have.
"""

import importlib.util
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.trainer.rows import calls

from headrace.connectors.engines.arithmetic import choose
from headrace.trainer import checkpoint
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import Batch, PackingConfig, TrainingRow, pack_rows
from headrace.trainer.critic import Critic, CriticConfig
from headrace.trainer.optimizer import MasterOptimizer, OptimizerConfig
from headrace.trainer.policy import Policy
from headrace.trainer.step import TrainStep

RATE = 1e-6


class Worker:
    """One model under training, by one algorithm after the other."""

    def __init__(self, model: Path, directory: Path) -> None:
        self._model, self._directory = model, directory
        self._dtype = getattr(torch, choose(device="cpu").dtype)

    def prepare(self, preset: Any) -> dict[str, Any]:
        """Begin anew by an algorithm."""
        policy = Policy.load(self._model, compute_dtype=self._dtype)
        self.algorithm = AlgorithmConfig.preset(preset)
        critic = None
        if self.algorithm.critic:
            config = CriticConfig(optimizer=OptimizerConfig(lr=RATE))
            critic = Critic(Policy.load(self._model, compute_dtype=self._dtype), config)
        self._step = TrainStep(
            policy, MasterOptimizer(policy, OptimizerConfig(lr=RATE)), critic=critic
        )
        self._version = 0
        self._batch = batch_of(policy.head.shape[0], self.algorithm)
        return {
            "dtype": str(self._dtype),
            "parameters": sum(one.numel() for one in policy.parameters().values()),
            "rows": len(self._batch.rows),
            "row_tokens": self._batch.row_tokens,
            "unique_tokens": self._batch.packed_tokens,
            "sampled_tokens": sum(row.sampled_ids.size for row in self._batch.rows),
        }

    def step(self) -> dict[str, Any]:
        """One step on the same calls as ever."""
        began = time.perf_counter()
        result = self._step.run(self._batch, self.algorithm, version=self._version)
        self._version += 1
        return {"seconds": time.perf_counter() - began, "loss": result.loss}

    def save(self, gather: float) -> dict[str, Any]:
        """Make the version durable, with a loop that gathers for so many seconds meanwhile; how
        long the loop stood still for it."""
        critic = None if self._step.critic is None else self._step.critic.optimizer
        place = (self._directory, self._version)
        began = time.perf_counter()
        if importlib.util.find_spec("headrace.trainer.in_flight") is None:
            saved = checkpoint.save(*place, self._step.policy, self._step.optimizer, critic)
            stood = seconds = time.perf_counter() - began
        else:
            from headrace.trainer.in_flight import Disk

            disk = Disk()
            flight = disk.begin(
                lambda: checkpoint.save(*place, self._step.policy, self._step.optimizer, critic)
            )
            handed = time.perf_counter() - began
            time.sleep(gather)
            waits = time.perf_counter()
            saved, seconds = flight.result()
            stood = handed + time.perf_counter() - waits
            disk.close()
        sizes = {one.name: one.stat().st_size for one in saved.path.iterdir()}
        shutil.rmtree(saved.path)
        return {
            "stood_still": stood,
            "seconds": seconds,
            "bytes": sum(sizes.values()),
            "weights": sizes[checkpoint.WEIGHTS],
        }


def batch_of(vocabulary: int, algorithm: AlgorithmConfig) -> Batch:
    """The calls as a batch."""
    rows = [
        TrainingRow(
            sample_id=call.name,
            episode_id=call.name,
            group_id=call.group,
            prompt_ids=call.prompt,
            sampled_ids=call.sampled,
            behaviour_logp=call.logp,
            versions=np.zeros(call.sampled.size, np.int64),
            advantage=call.advantage,
            temperature=1.0,
        )
        for call in calls(vocabulary)
    ]
    # The trainer of before read every row.
    reads: Any = getattr(algorithm, "reads", None)
    pack: Callable[..., Batch] = pack_rows
    return pack(rows, PackingConfig(), *([reads] if reads else []))


def main() -> None:
    """Arguments: the model's directory, and the threads."""
    torch.set_num_threads(int(sys.argv[2]))
    with tempfile.TemporaryDirectory() as directory:
        worker = Worker(Path(sys.argv[1]), Path(directory))
        for line in sys.stdin:
            asked = json.loads(line)
            told = getattr(worker, asked.pop("do"))(**asked)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({**told, "peak_bytes": peak}), flush=True)


if __name__ == "__main__":
    main()
