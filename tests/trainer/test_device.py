"""A step on another device: no tensor is left behind, and the kernels can take what they are given.

Fake tensors know their device and no contents; mixing devices raises, as it would on the real one.
"""

import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM

from headrace.kernels import linear_policy_loss
from headrace.trainer import policy as policy_module
from headrace.trainer import step as step_module
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import PackingConfig, TrainingRow, pack_rows
from headrace.trainer.optimizer import MOMENTS, MasterOptimizer, OptimizerConfig
from headrace.trainer.policy import Policy
from headrace.trainer.step import TrainStep

MakeRow = Callable[..., TrainingRow]


class ReachedTheLoss(Exception):
    pass


@pytest.fixture
def on_fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainStep]:
    """A tiny bf16 model and its optimiser on `cuda:0`, where there need not be one."""
    monkeypatch.setattr(policy_module, "_refuse_unfit", lambda _: None)  # it reads contents
    config = LlamaConfig(
        vocab_size=48,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    # The batch comes from numpy, on the CPU, with contents.
    with FakeTensorMode(allow_non_fake_inputs=True):
        torch.set_default_dtype(torch.bfloat16)
        try:
            with torch.device("cuda"):
                model = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]  # transformers' own
        finally:
            torch.set_default_dtype(torch.float32)
        policy = Policy(model)
        yield TrainStep(policy, MasterOptimizer(policy, OptimizerConfig()))


def test_all_that_the_loss_is_given_is_on_the_policys_device(
    on_fake_gpu: TrainStep, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Tensor] = {}

    def seen(hidden: Tensor, weight: Tensor, targets: Tensor, **rest: Any) -> None:
        tensors = {"hidden": hidden, "weight": weight, "targets": targets, **rest}
        given.update({name: part for name, part in tensors.items() if isinstance(part, Tensor)})
        assert linear_policy_loss(hidden, weight, targets, **rest).loss.requires_grad
        raise ReachedTheLoss

    monkeypatch.setattr(step_module, "linear_policy_loss", seen)
    rows = [make_row([1, 2, 3], [4, 5], name="a"), make_row([1, 2, 9], [10], name="b")]
    with pytest.raises(ReachedTheLoss):
        on_fake_gpu.run(pack_rows(rows, PackingConfig()), AlgorithmConfig(horizon=8), version=3)
    assert {str(part.device) for part in given.values()} == {"cuda:0"}
    # Of one dtype: else the kernels for it cannot be used.
    assert given["hidden"].dtype == given["weight"].dtype == torch.bfloat16


def test_a_restored_optimiser_is_on_the_policys_device(on_fake_gpu: TrainStep) -> None:
    optimizer = on_fake_gpu.optimizer
    saved = {name: torch.zeros(value.shape) for name, value in optimizer.state().items()}
    for name, master in optimizer.masters.items():
        saved[f"step/{name}"] = torch.tensor(1.0)
        saved.update({f"{key}/{name}": torch.zeros(master.shape) for key in MOMENTS})
    optimizer.restore(saved)
    assert {value.device.type for value in optimizer.state().values()} == {"cuda"}


def test_a_step_with_the_kernels_is_the_step_without(
    make_row: MakeRow, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        make_row([1, 2, 3], [4, 5], name="a", advantage=1.0),
        make_row([1, 2, 3], [4, 7, 8], name="b", advantage=-1.0),
    ]
    moved = []
    for impl in ("torch", "triton"):
        kernels = partial(linear_policy_loss, impl=impl)
        monkeypatch.setattr(step_module, "linear_policy_loss", kernels)
        policy = Policy.load(tiny_model, compute_dtype=torch.bfloat16)
        step = TrainStep(policy, MasterOptimizer(policy, OptimizerConfig(lr=1e-2)))
        result = step.run(pack_rows(rows, PackingConfig()), AlgorithmConfig(horizon=8), version=3)
        moved.append((result.loss, result.grad_norm, result.entropy))
    assert moved[0] == pytest.approx(moved[1], rel=2e-2)


TORCH = str(Path(torch.__file__).parent)


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Counts how often the trainer asks a tensor for a number (`item`, `float`, a branch on it).

    The kernels look at targets on a CPU alone.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            files = [frame.filename for frame in traceback.extract_stack()[:-1]]
            asking = next(one for one in reversed(files) if not one.startswith(TORCH))
            self.count += "/headrace/trainer/" in asking
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("preset", ["grpo", "gspo"])
def test_no_number_is_asked_of_a_single_tensor_in_a_step(
    make_row: MakeRow, tiny_model: Path, preset: Any
) -> None:
    """On a GPU each question waits for all before it: an update asks once, for all numbers."""
    rows = [make_row([1, 2, 3], [4, 5], name="a"), make_row([1, 2, 9], [10, 3], name="b")]
    policy = Policy.load(tiny_model, compute_dtype=torch.float32)
    step = TrainStep(policy, MasterOptimizer(policy, OptimizerConfig()))
    batch = pack_rows(rows, PackingConfig(token_budget=5))
    assert len(batch.packs) == 2
    with Waits() as waits:
        step.run(batch, AlgorithmConfig.preset(preset), version=3)
    assert waits.count == 0
