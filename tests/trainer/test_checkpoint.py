"""Checkpoints are whole or absent, say when they are damaged, and resume bit for bit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Glm4MoeConfig, Glm4MoeForCausalLM

from headrace.trainer import checkpoint
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import Batch, PackingConfig, TrainingRow, pack_rows
from headrace.trainer.errors import CheckpointCorrupt, CheckpointMissing
from headrace.trainer.optimizer import MasterOptimizer, OptimizerConfig
from headrace.trainer.policy import Policy
from headrace.trainer.step import TrainStep

CONFIG = OptimizerConfig(lr=1e-3)


@pytest.fixture
def batch(make_row: Callable[..., TrainingRow]) -> Batch:
    rows = [
        make_row([1, 2, 3], [4, 5], name="a", advantage=1.0),
        make_row([1, 2, 3], [4, 7, 8], name="b", advantage=-1.0),
    ]
    return pack_rows(rows, PackingConfig())


def fresh(model: Path) -> TrainStep:
    policy = Policy.load(model)
    return TrainStep(policy, MasterOptimizer(policy, CONFIG))


def run(step: TrainStep, batch: Batch, version: int) -> None:
    step.run(batch, AlgorithmConfig(horizon=8), version=version)


@pytest.mark.parametrize("steps_before", [0, 2])
def test_a_resumed_trainer_continues_bit_for_bit(
    tmp_path: Path, tiny_model: Path, batch: Batch, steps_before: int
) -> None:
    straight = fresh(tiny_model)
    for version in range(steps_before):
        run(straight, batch, version)
    saved = checkpoint.save(tmp_path, steps_before, straight.policy, straight.optimizer)
    loaded = checkpoint.load(saved.path, saved.content_hash, config=CONFIG)
    assert loaded.version == steps_before
    resumed = TrainStep(loaded.policy, loaded.optimizer)
    for version in range(steps_before, steps_before + 2):
        run(straight, batch, version)
        run(resumed, batch, version)
    ours, theirs = straight.optimizer.state(), resumed.optimizer.state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    mine, others = straight.policy.parameters(), resumed.policy.parameters()
    assert all(torch.equal(mine[name], others[name]) for name in mine)


@pytest.mark.parametrize("tied", [True, False])
def test_an_engine_loads_the_directory_as_a_model(
    tmp_path: Path, build_model: Callable[..., Path], batch: Batch, tied: bool
) -> None:
    step = fresh(build_model(tied=tied))
    run(step, batch, 0)
    saved = checkpoint.save(tmp_path, 1, step.policy, step.optimizer)
    model = AutoModelForCausalLM.from_pretrained(saved.path)
    assert model.dtype == torch.bfloat16
    loaded = dict(model.named_parameters())
    for name, parameter in step.policy.parameters().items():
        assert torch.equal(loaded[name], parameter)
    assert (saved.path / "tokenizer.json").read_text() == "{}"


def test_a_policy_in_fp32_arithmetic_publishes_bf16(tmp_path: Path, tiny_model: Path) -> None:
    policy = Policy.load(tiny_model, compute_dtype=torch.float32)
    saved = checkpoint.save(tmp_path, 0, policy, MasterOptimizer(policy, CONFIG))
    weights = load_file(saved.path / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert json.loads((saved.path / "config.json").read_text())["dtype"] == "bfloat16"


def test_equal_content_has_one_hash_and_one_directory(tmp_path: Path, tiny_model: Path) -> None:
    one = checkpoint.save(tmp_path, 0, *parts(tiny_model))
    other = checkpoint.save(tmp_path, 0, *parts(tiny_model))
    assert one == other
    assert [path.name for path in tmp_path.iterdir()] == [one.path.name]
    elsewhere = checkpoint.save(tmp_path, 1, *parts(tiny_model))
    assert elsewhere.content_hash != one.content_hash


def parts(model: Path) -> tuple[Policy, MasterOptimizer]:
    policy = Policy.load(model)
    return policy, MasterOptimizer(policy, CONFIG)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "config.json"])
def test_a_damaged_file_is_named(tmp_path: Path, tiny_model: Path, name: str) -> None:
    saved = checkpoint.save(tmp_path, 0, *parts(tiny_model))
    file = saved.path / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointCorrupt, match=name):
        checkpoint.load(saved.path, saved.content_hash, config=CONFIG)
    repaired = checkpoint.save(tmp_path, 0, *parts(tiny_model))
    assert repaired == saved
    checkpoint.verify(saved.path, saved.content_hash)


def test_another_hash_than_the_committed_one_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    saved = checkpoint.save(tmp_path, 0, *parts(tiny_model))
    with pytest.raises(CheckpointCorrupt, match=r"manifest\.json"):
        checkpoint.load(saved.path, "0" * 64, config=CONFIG)


def test_an_absent_checkpoint_is_named(tmp_path: Path, tiny_model: Path) -> None:
    saved = checkpoint.save(tmp_path, 0, *parts(tiny_model))
    assert checkpoint.find(tmp_path, 0, saved.content_hash) == saved.path
    with pytest.raises(CheckpointMissing, match="000001-"):
        checkpoint.find(tmp_path, 1, saved.content_hash)
    (saved.path / "model.safetensors").unlink()
    with pytest.raises(CheckpointMissing, match=r"model\.safetensors"):
        checkpoint.load(saved.path, saved.content_hash, config=CONFIG)


def test_a_failed_save_leaves_nothing(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(checkpoint, "_sync", full_disk)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(tmp_path, 0, *parts(tiny_model))
    assert list(tmp_path.iterdir()) == []


def test_pruning_keeps_all_weights_and_the_last_two_states(
    tmp_path: Path, tiny_model: Path, batch: Batch
) -> None:
    step = fresh(tiny_model)
    saved = []
    for version in range(4):
        saved.append(checkpoint.save(tmp_path, version, step.policy, step.optimizer))
        run(step, batch, version)
    (tmp_path / ".saving-left-by-a-crash").mkdir()
    removed = checkpoint.prune(tmp_path)
    assert {path.name for path in removed} == {"optimizer.safetensors", ".saving-left-by-a-crash"}
    has_state = [(s.path / "optimizer.safetensors").exists() for s in saved]
    assert has_state == [False, False, True, True]
    assert all((s.path / "model.safetensors").exists() for s in saved)
    assert checkpoint.prune(tmp_path) == []


def test_a_pruned_version_can_still_be_rolled_back_to(
    tmp_path: Path, tiny_model: Path, batch: Batch
) -> None:
    step = fresh(tiny_model)
    old = checkpoint.save(tmp_path, 0, step.policy, step.optimizer)
    run(step, batch, 0)
    checkpoint.save(tmp_path, 1, step.policy, step.optimizer)
    checkpoint.prune(tmp_path, keep_optimizer=1)
    with pytest.raises(CheckpointMissing, match="pruned"):
        checkpoint.load(old.path, old.content_hash, config=CONFIG)
    loaded = checkpoint.load(old.path, old.content_hash, config=CONFIG, with_optimizer=False)
    base = Policy.load(tiny_model).parameters()
    assert all(torch.equal(p, base[name]) for name, p in loaded.policy.parameters().items())


def test_state_of_another_model_is_refused(
    tmp_path: Path, tiny_model: Path, build_model: Callable[..., Path]
) -> None:
    policy = Policy.load(build_model(tied=False))
    saved = checkpoint.save(tmp_path, 0, policy, MasterOptimizer(*parts(tiny_model)[:1], CONFIG))
    with pytest.raises(CheckpointCorrupt, match="not of this model"):
        checkpoint.load(saved.path, saved.content_hash, config=CONFIG)


def test_what_a_model_keeps_beside_its_parameters_is_in_a_checkpoint(tmp_path: Path) -> None:
    """The bias of a router decides which experts answer; no gradient moves it."""
    config = Glm4MoeConfig(
        vocab_size=48,
        hidden_size=32,
        intermediate_size=32,
        moe_intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        n_routed_experts=4,
        num_experts_per_tok=2,
        first_k_dense_replace=1,
    )
    torch.manual_seed(0)
    policy = Policy(Glm4MoeForCausalLM(config))  # type: ignore[no-untyped-call]  # transformers' own
    (name,) = policy.buffers()
    policy.buffers()[name].copy_(torch.tensor([0.5, -1.0, 2.0, 0.0]))
    optimizer = MasterOptimizer(policy, OptimizerConfig())
    saved = checkpoint.save(tmp_path, 0, policy, optimizer)
    loaded = checkpoint.load(saved.path, saved.content_hash, config=OptimizerConfig())
    assert torch.equal(loaded.policy.buffers()[name], policy.buffers()[name])
    assert loaded.policy.buffers()[name].dtype == policy.buffers()[name].dtype


def test_a_removed_checkpoint_is_gone_and_what_a_crash_left_of_it_is_pruned(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = checkpoint.save(tmp_path, 0, *parts(tiny_model))
    other = checkpoint.save(tmp_path, 1, *parts(tiny_model))
    assert checkpoint.remove(tmp_path, 0, one.content_hash)
    assert not checkpoint.remove(tmp_path, 0, one.content_hash)
    with monkeypatch.context() as patched:  # killed before a file of it was deleted
        patched.setattr(shutil, "rmtree", lambda _: None)
        checkpoint.remove(tmp_path, 1, other.content_hash)
    assert not other.path.exists()
    checkpoint.prune(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_was_never_committed_is_forgotten_and_nothing_else(
    tmp_path: Path, tiny_model: Path
) -> None:
    one = checkpoint.save(tmp_path, 1, *parts(tiny_model))
    checkpoint.save(tmp_path, 2, *parts(tiny_model))
    checkpoint.forget_uncommitted(tmp_path, 2)
    assert list(tmp_path.iterdir()) == [one.path]
