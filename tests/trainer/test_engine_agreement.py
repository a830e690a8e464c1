"""Engine and trainer speak of the same distribution: log-probabilities agree token by token.

The engine's are the behaviour policy of every importance ratio. A difference in temperature,
chat template or stop token would bias training silently, so each is shown to fail here.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from headrace.connectors.engines import Generation, GenerationRequest, SamplingParameters
from headrace.connectors.engines.transformers.engine import (
    TransformersEngine,
    TransformersEngineConfig,
)
from headrace.infra.embedded.models import tiny_llama
from headrace.kernels import linear_logp
from headrace.trainer.batch import PackingConfig, TrainingRow, pack_rows
from headrace.trainer.policy import Policy

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
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Sampled:
    directory = tiny_llama(tmp_path_factory.mktemp("agreement") / "model", seed=3)

    async def draw() -> Sampled:
        engine = TransformersEngine(
            TransformersEngineConfig(model_directory=directory, dtype="float32", threads=1)
        )
        try:
            prompts = tuple(
                engine.render([{"role": "user", "content": question}]) for question in QUESTIONS
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


def largest_gap(
    sampled: Sampled,
    *,
    temperature: float = TEMPERATURE,
    prompts: tuple[tuple[int, ...], ...] | None = None,
    drop_last: bool = False,
) -> float:
    """Largest |Δ log p| over all sampled tokens; infinite where the tokens do not line up."""
    rows = []
    for n, (prompt, drawn) in enumerate(
        zip(prompts or sampled.prompts, sampled.generations, strict=True)
    ):
        tokens = drawn.token_ids[:-1] if drop_last else drawn.token_ids
        rows.append(
            TrainingRow(
                sample_id=str(n),
                episode_id=str(n),
                group_id="g",
                prompt_ids=np.asarray(prompt, np.uint32),
                sampled_ids=np.asarray(tokens, np.uint32),
                behaviour_logp=np.zeros(len(tokens), np.float32),
                versions=np.zeros(len(tokens), np.int64),
                advantage=1.0,
                temperature=temperature,
            )
        )
    policy = Policy.load(sampled.directory, compute_dtype=torch.float32)
    gaps = [0.0]
    with torch.no_grad():
        for pack in pack_rows(rows, PackingConfig()).packs:
            hidden = policy.hidden_states(pack)[torch.from_numpy(pack.sources)]
            targets = np.concatenate([rows[index].sampled_ids for index in pack.rows])
            scored = linear_logp(
                hidden,
                policy.head,
                torch.from_numpy(targets.astype(np.int64)),
                temperature=temperature,
            )
            engine = np.concatenate([sampled.generations[index].logprobs for index in pack.rows])
            if len(engine) != len(scored.logp):
                return float("inf")
            gaps.append(float((scored.logp - torch.from_numpy(np.asarray(engine))).abs().max()))
    return max(gaps)


def test_engine_and_trainer_agree_on_every_token_stop_tokens_included(sampled: Sampled) -> None:
    assert all(drawn.token_ids for drawn in sampled.generations)
    assert any(drawn.stop_token_included for drawn in sampled.generations)
    assert largest_gap(sampled) < SAME


def test_another_temperature_would_show(sampled: Sampled) -> None:
    assert largest_gap(sampled, temperature=1.0) > DIFFERENT


def test_another_template_would_show(sampled: Sampled) -> None:
    without_template = tuple(prompt[:-2] for prompt in sampled.prompts)
    assert largest_gap(sampled, prompts=without_template) > DIFFERENT


def test_a_dropped_stop_token_would_show(sampled: Sampled) -> None:
    assert largest_gap(sampled, drop_last=True) > DIFFERENT
