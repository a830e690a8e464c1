"""Engine and trainer speak of the same distribution: log-probabilities agree token by token.

The engine's are the behaviour policy of every importance ratio. A difference in temperature,
chat template or stop token would bias training silently, so each is shown to fail here.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from headrace.connectors.engines import Generation, GenerationRequest, SamplingParameters
from headrace.connectors.engines.arithmetic import DtypeSetting
from headrace.connectors.engines.transformers.engine import (
    TransformersEngine,
    TransformersEngineConfig,
)
from headrace.infra.embedded.models import tiny_llama
from headrace.trainer import checkpoint
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import PackingConfig, pack_rows
from headrace.trainer.optimizer import MasterOptimizer, OptimizerConfig
from headrace.trainer.policy import Policy
from headrace.trainer.step import TrainStep
from tests.support.scoring import Drawn, gaps, row_of

TEMPERATURE = 0.7
QUESTIONS = ("What is 12 plus 7?", "What is 9 times 4?", "Say something long.")
STOPS = tuple("abcdefghijklmnopqrstuvwxyz")  # noise of a random model soon holds one
SAME, DIFFERENT = 2e-4, 1e-2  # nats; fp32 on both sides


@dataclass(kw_only=True, slots=True, frozen=True)
class Sampled:
    """What an engine drew, and the model it drew from."""

    directory: Path
    prompts: tuple[tuple[int, ...], ...]
    generations: tuple[Generation, ...]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("agreement") / "model", seed=3)


@pytest.fixture(scope="module")
def sampled(base: Path) -> Sampled:
    return draw_from(base, "float32")


def draw_from(directory: Path, dtype: DtypeSetting) -> Sampled:
    """What an engine over the weights of a directory draws, some of it ended by a stop string."""

    async def draw() -> Sampled:
        engine = TransformersEngine(
            TransformersEngineConfig(model_directory=directory, dtype=dtype, threads=1)
        )
        try:
            prompts = tuple(
                engine.encode(engine.render([{"role": "user", "content": question}]))
                for question in QUESTIONS
            )
            requests = [
                GenerationRequest(
                    prompt_ids=prompt,
                    sampling=SamplingParameters(
                        temperature=TEMPERATURE, seed=n, max_tokens=24, stop=STOPS
                    ),
                )
                for n, prompt in enumerate(prompts)
            ]
            drawn = await asyncio.gather(*(engine.generate(request) for request in requests))
            return Sampled(directory=directory, prompts=prompts, generations=tuple(drawn))
        finally:
            await engine.close()

    return asyncio.run(draw())


def gaps_of(
    sampled: Sampled,
    policy: Policy,
    *,
    temperature: float = TEMPERATURE,
    prompts: tuple[tuple[int, ...], ...] | None = None,
    drop_last: bool = False,
) -> Tensor:
    """|Δ log p| of all sampled tokens; infinite where the tokens do not line up."""
    drawn = [
        Drawn(prompt, one.token_ids[:-1] if drop_last else one.token_ids, one.logprobs)
        for prompt, one in zip(prompts or sampled.prompts, sampled.generations, strict=True)
    ]
    return gaps(policy, drawn, temperature)


def largest_gap(sampled: Sampled, **changed: Any) -> float:
    policy = Policy.load(sampled.directory, compute_dtype=torch.float32)
    return float(gaps_of(sampled, policy, **changed).max())


def trained(base: Path, dtype: DtypeSetting) -> TrainStep:
    """A trainer after one step, so that its masters are no bf16 values any more."""
    policy = Policy.load(base, compute_dtype=getattr(torch, dtype))
    step = TrainStep(policy, MasterOptimizer(policy, OptimizerConfig(lr=1e-3)))
    rows = [
        row_of(n, (5, 6, 7), (8 + n, 9), advantage=1.0 - n, temperature=TEMPERATURE)
        for n in range(3)
    ]
    step.run(pack_rows(rows, PackingConfig()), AlgorithmConfig(horizon=8), version=0)
    return step


def test_engine_and_trainer_agree_on_every_token_stop_tokens_included(sampled: Sampled) -> None:
    assert all(drawn.token_ids for drawn in sampled.generations)
    assert any(drawn.stop_token_included for drawn in sampled.generations)
    assert largest_gap(sampled) < SAME


@pytest.mark.parametrize(
    ("dtype", "mean_gap"), [("float32", 1e-5), ("bfloat16", 0.02)], ids=["fp32", "bf16"]
)
def test_after_a_step_trainer_and_engine_agree_on_the_published_weights(
    base: Path, tmp_path: Path, dtype: DtypeSetting, mean_gap: float
) -> None:
    step = trained(base, dtype)
    saved = checkpoint.save(tmp_path, 1, step.policy, step.optimizer)
    published = load_file(saved.path / "model.safetensors")
    assert {tensor.dtype for tensor in published.values()} == {torch.bfloat16}
    assert float(gaps_of(draw_from(saved.path, dtype), step.policy).mean()) < mean_gap


def test_masters_that_were_not_rounded_would_show(base: Path, tmp_path: Path) -> None:
    step = trained(base, "float32")
    saved = checkpoint.save(tmp_path, 1, step.policy, step.optimizer)
    with torch.no_grad():
        for name, parameter in step.policy.parameters().items():
            parameter.copy_(step.optimizer.masters[name])
    assert float(gaps_of(draw_from(saved.path, "float32"), step.policy).mean()) > 1e-4


def test_another_temperature_would_show(sampled: Sampled) -> None:
    assert largest_gap(sampled, temperature=1.0) > DIFFERENT


def test_another_template_would_show(sampled: Sampled) -> None:
    without_template = tuple(prompt[:-2] for prompt in sampled.prompts)
    assert largest_gap(sampled, prompts=without_template) > DIFFERENT


def test_a_dropped_stop_token_would_show(sampled: Sampled) -> None:
    assert largest_gap(sampled, drop_last=True) > DIFFERENT
