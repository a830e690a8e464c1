"""The example for TRL takes the same steps as TRL's own trainer."""

import functools
import math
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.spawn import spawn

pytest.importorskip("trl", reason="TRL is not among headrace's packages: run `make trl`")

from datasets import Dataset  # type: ignore[import-not-found]  # TRL brings it
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer  # type: ignore[import-not-found]  # as in the example

from examples.trl_grpo import trainer as example
from examples.trl_grpo.trainer import LOSS_TYPES, LinearGRPOTrainer, read_from_head
from headrace.kernels import linear_policy_loss

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"
WORDS = ["<pad>", "<eos>", *(f"w{n}" for n in range(58))]
SEQUENCES, PROMPT, COMPLETION, STEPS = 4, 5, 7, 3
TOLERANCE = 1e-5
TOLERANCE_OF_A_RUN = 1e-4  # Adam divides by small numbers
KINDS = {"stock": GRPOTrainer, "linear": LinearGRPOTrainer}


@pytest.fixture(scope="module")
def models_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of a few thousand random parameters, with their tokenizer."""
    directory = tmp_path_factory.mktemp("models")
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers' own
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="w0"
    )
    for name, tied in (("plain", False), ("tied", True)):
        torch.manual_seed(0)
        new_model(tie_word_embeddings=tied).save_pretrained(directory / name)
        tokenizer.save_pretrained(directory / name)
    return directory


def llama(**settings: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
        initializer_range=0.3,
        **settings,
    )


def new_model(**settings: Any) -> Any:
    return LlamaForCausalLM(llama(**settings))  # type: ignore[no-untyped-call]  # transformers' own


def new_trainer(
    kind: type[Any], policy: Path, output: Path, lora: Any = None, **settings: Any
) -> Any:
    """The same starting point, whatever the class."""
    torch.manual_seed(1)
    return kind(
        model=str(policy),
        reward_funcs=prefers_early_words,
        peft_config=lora,
        args=GRPOConfig(
            output_dir=str(output),
            use_cpu=True,
            report_to="none",
            per_device_train_batch_size=SEQUENCES,
            gradient_accumulation_steps=STEPS,
            num_generations=SEQUENCES,
            max_completion_length=COMPLETION,
            learning_rate=1e-2,
            max_steps=4,
            max_grad_norm=0.0,
            logging_steps=1,
            save_strategy="no",
            disable_tqdm=True,
            temperature=0.9,
            seed=1,
            **{"bf16": False, "use_bias_correction_kl": False, **settings},
        ),
        train_dataset=Dataset.from_dict({"prompt": ["w1 w2", "w3 w4 w5", "w6", "w7 w8"] * 6}),
    )


Make = Callable[..., Any]


@pytest.fixture
def make(models_directory: Path, tmp_path: Path) -> Make:
    def of(kind: type[Any], policy: str = "plain", **settings: Any) -> Any:
        return new_trainer(kind, models_directory / policy, tmp_path, **settings)

    return of


def prefers_early_words(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [sum(1.0 for token in ids if token < 30) / len(ids) for ids in completion_ids]


def micro_batch(step: int, *, old: bool = True, empty: bool = False) -> dict[str, Any]:
    """What TRL hands to its loss: prompts padded on the left, completions on the right."""
    draw = torch.Generator().manual_seed(step)

    def noise(scale: float) -> Tensor:
        return scale * torch.randn(SEQUENCES, COMPLETION, generator=draw)

    lengths = torch.tensor([COMPLETION, 1, 4, 5]).roll(step)
    completion_mask = (torch.arange(COMPLETION) < lengths[:, None]).long()
    if empty:
        completion_mask.zero_()
    starts = torch.tensor([0, 3, 1, 2])
    tool_mask = torch.ones_like(completion_mask)
    tool_mask[2, 1:3] = 0
    return {
        "prompt_ids": torch.randint(2, len(WORDS), (SEQUENCES, PROMPT), generator=draw),
        "prompt_mask": (torch.arange(PROMPT) >= starts[:, None]).long(),
        "completion_ids": torch.randint(1, len(WORDS), (SEQUENCES, COMPLETION), generator=draw),
        "completion_mask": completion_mask,
        "tool_mask": tool_mask,
        "advantages": torch.tensor([1.0, -2.0, 0.0, 0.5]).roll(step),
        "old_per_token_logps": -math.log(len(WORDS)) + noise(0.5) if old else None,
        "ref_per_token_logps": -math.log(len(WORDS)) + noise(0.5),
        "importance_sampling_ratio": noise(1.0).exp().clamp(max=2.0),
        "num_items_in_batch": torch.tensor(45),
    }


def gradients_of(trainer: Any) -> dict[str, Tensor]:
    named = trainer.model.named_parameters()
    return {name: p.grad for name, p in named if p.requires_grad}


def losses_of(trainer: Any, batches: list[dict[str, Any]]) -> list[float]:
    """Losses of the micro-steps of one step; their gradients add up."""
    trainer.current_gradient_accumulation_steps = len(batches)
    trainer.model.train()
    losses = []
    for batch in batches:
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(trainer.model, batch)
        loss.backward()
        losses.append(loss.item())
    return losses


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert expected.norm() > 0, name
        assert (ours[name] - expected).norm() <= tolerance * expected.norm(), name


def assert_same_step(
    stock: Any, linear: Any, batches: list[dict[str, Any]], tolerance: float = TOLERANCE
) -> None:
    expected = losses_of(stock, batches)
    assert losses_of(linear, batches) == pytest.approx(expected, rel=tolerance, abs=tolerance)
    assert_same(gradients_of(linear), gradients_of(stock), tolerance)
    assert linear._metrics["train"].keys() == stock._metrics["train"].keys()
    for name, values in stock._metrics["train"].items():
        near = pytest.approx(values, rel=tolerance, abs=tolerance)
        assert linear._metrics["train"][name] == near, name


@pytest.mark.parametrize("old", [True, False], ids=["later", "first"])
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_loss_gradients_and_metrics_are_those_of_trl(
    make: Make, loss_type: str, beta: float, old: bool
) -> None:
    settings = {"loss_type": loss_type, "beta": beta, "epsilon_high": 0.28}
    stock, linear = (make(kind, **settings) for kind in KINDS.values())
    assert_same_step(stock, linear, [micro_batch(step, old=old) for step in range(STEPS)])
    assert stock._metrics["train"]["clip_ratio/region_mean"][1] > 0 or not old


@pytest.mark.parametrize("old", [True, False], ids=["later", "first"])
@pytest.mark.parametrize("delta", [None, 1.5])
def test_the_corrected_kl_is_that_of_trl(make: Make, old: bool, delta: float | None) -> None:
    settings = {"beta": 0.4, "use_bias_correction_kl": True, "delta": delta}
    stock, linear = (make(kind, **settings) for kind in KINDS.values())
    assert_same_step(stock, linear, [micro_batch(step, old=old) for step in range(STEPS)])


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_the_value_that_the_kernel_gives_is_that_of_trl_too(
    make: Make, loss_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = []

    def noting(*args: Any, **columns: Any) -> Any:
        out = linear_policy_loss(*args, **columns)
        values.append(out.loss.item())
        return out

    monkeypatch.setattr(example, "linear_policy_loss", noting)
    settings = {"loss_type": loss_type, "beta": 0.04}
    expected = losses_of(make(GRPOTrainer, **settings), [micro_batch(0), micro_batch(1)])
    losses_of(make(LinearGRPOTrainer, **settings), [micro_batch(0), micro_batch(1)])
    assert values == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


@pytest.mark.parametrize("old", [True, False], ids=["later", "first"])
@pytest.mark.parametrize("per_token", [True, False], ids=["token", "sequence"])
def test_the_correction_for_the_sampling_engine_is_that_of_trl(
    make: Make, per_token: bool, old: bool
) -> None:
    batches = [micro_batch(step, old=old) for step in range(STEPS)]
    for batch in batches:
        ratio = batch["importance_sampling_ratio"].masked_fill(
            batch["advantages"][:, None] > 0.7, 0
        )
        batch["importance_sampling_ratio"] = ratio if per_token else ratio[:, :1]
    stock, linear = (make(kind, beta=0.04) for kind in KINDS.values())
    for trainer in (stock, linear):  # no vLLM is there to be started
        trainer.use_vllm = True
    assert_same_step(stock, linear, batches)


def test_two_sided_clipping_tied_weights_and_an_empty_micro_batch(make: Make) -> None:
    batches = [micro_batch(0), micro_batch(1, empty=True), micro_batch(2)]
    settings = {"policy": "tied", "delta": 1.5, "mask_truncated_completions": True}
    stock, linear = (make(kind, **settings) for kind in KINDS.values())
    losses, expected = losses_of(linear, batches), losses_of(stock, batches)
    assert losses == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)
    assert_same(gradients_of(linear), gradients_of(stock), TOLERANCE)


def test_adapters_are_trained_over_a_frozen_head(make: Make) -> None:
    peft = pytest.importorskip("peft", reason="PEFT is not installed: run `make trl`")
    lora = peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False, lora_dropout=0.0)
    stock, linear = (make(kind, lora=lora) for kind in KINDS.values())
    assert_same_step(stock, linear, [micro_batch(step) for step in range(STEPS)])
    assert all("lora" in name for name in gradients_of(linear))


def test_mixed_precision_gives_what_trl_gives_but_for_rounding(make: Make) -> None:
    stock, linear = (make(kind, bf16=True) for kind in KINDS.values())
    for trainer in (stock, linear):
        trainer.model = trainer.accelerator.prepare_model(trainer.model)
    assert_same_step(stock, linear, [micro_batch(step) for step in range(STEPS)], tolerance=2e-2)


def test_old_and_reference_policies_are_scored_as_trl_scores_them(make: Make) -> None:
    batch = micro_batch(0)
    scores = []
    for trainer in (make(kind) for kind in KINDS.values()):
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        with torch.no_grad():
            scores.append(
                trainer._get_per_token_logps_and_entropies(
                    trainer.model, ids, mask, COMPLETION, batch_size=3, compute_entropy=True
                )
            )
    torch.testing.assert_close(scores[1], scores[0], rtol=TOLERANCE, atol=TOLERANCE)


def moved_by(trainer: Any) -> dict[str, Tensor]:
    """Trains; how far each parameter has moved."""
    named = dict(trainer.model.named_parameters())
    before = {name: p.detach().clone() for name, p in named.items()}
    trainer.train()
    return {name: p.detach() - before[name] for name, p in named.items()}


@pytest.mark.parametrize("settings", [{}, {"num_iterations": 2, "beta": 0.04}], ids=str)
def test_a_training_run_ends_at_the_weights_of_trl(make: Make, settings: dict[str, Any]) -> None:
    moved, logs = [], []
    for kind in KINDS.values():  # one after the other: sampling begins at the seed
        trainer = make(kind, **settings)
        moved.append(moved_by(trainer))
        logs.append([set(entry) for entry in trainer.state.log_history])
    assert_same(moved[1], moved[0], TOLERANCE_OF_A_RUN)
    assert logs[1] == logs[0]


def test_a_run_on_two_ranks_ends_at_the_weights_of_trl(
    models_directory: Path, tmp_path: Path
) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    arguments = (port, models_directory / "plain", tmp_path)
    spawn(train_as_rank, arguments, nprocs=2)  # type: ignore[no-untyped-call]  # torch's own
    stock, linear = (torch.load(tmp_path / f"{kind}.pt") for kind in KINDS)
    assert_same(linear, stock, TOLERANCE_OF_A_RUN)


def train_as_rank(rank: int, port: int, policy: Path, output: Path) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    for name, kind in KINDS.items():
        trainer = new_trainer(kind, policy, output, ddp_backend="gloo", num_iterations=2, beta=0.04)
        moved = moved_by(trainer)
        assert type(trainer.model_wrapped).__name__ == "DistributedDataParallel"
        if rank == 0:
            torch.save(moved, output / f"{name}.pt")


def test_what_the_page_shows_runs(
    models_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "path/to").mkdir(parents=True)
    (tmp_path / "path/to/model").symlink_to(models_directory / "plain")
    monkeypatch.chdir(tmp_path)
    here = functools.partial(GRPOConfig, use_cpu=True, max_completion_length=COMPLETION)
    monkeypatch.setattr("trl.GRPOConfig", here)  # the page's reader has a GPU
    prompts = Dataset.from_dict({"prompt": ["w1 w2"]})
    names: dict[str, Any] = {"reward": prefers_early_words, "prompts": prompts}
    (block,) = re.findall(r"```python\n(from trl.*?)```", PAGE.read_text(), flags=re.DOTALL)
    exec(compile(block, str(PAGE), "exec"), names)
    assert names["trainer"].state.global_step > 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"loss_type": "vespo"}, "loss_type='vespo'"),
        ({"importance_sampling_level": "sequence"}, "importance_sampling_level"),
        ({"top_entropy_quantile": 0.5}, "top_entropy_quantile"),
        ({"entropy_coef": 0.01}, "entropy_coef"),
        ({"off_policy_mask_threshold": 0.1}, "off_policy_mask_threshold"),
        ({"delta": 1.1}, "delta"),
        ({"cast_lm_head_to_fp32": True}, "cast_lm_head_to_fp32"),
    ],
    ids=str,
)
def test_what_it_cannot_do_is_refused(make: Make, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=f"not with LinearGRPOTrainer: {told}"):
        make(LinearGRPOTrainer, **settings)


def test_a_model_with_more_than_a_plain_head_is_refused() -> None:
    model = new_model()
    model.lm_head = torch.nn.Linear(16, len(WORDS), bias=True)
    with pytest.raises(ValueError, match="the logits of LlamaForCausalLM"):
        read_from_head(model)
