"""The built-in engine's log-probabilities are those of a plain forward pass."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from headrace.connectors.engines import Generation
from tests.connectors.engines.asking import QUESTIONS, plain_logprobs, request


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_logprobs_are_those_of_a_plain_forward_pass(
    open_engine: Any, tiny: Path, temperature: float
) -> None:
    async def main() -> list[Generation]:
        async with open_engine(tiny) as engine:
            generations: list[Generation] = await asyncio.gather(
                *(
                    engine.generate(
                        request(engine, q, seed=seed, temperature=temperature, max_tokens=60)
                    )
                    for q in QUESTIONS
                    for seed in range(8)
                )
            )
            return generations

    generations = asyncio.run(main())
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny)
    ended = [g for g in generations if g.finish_reason == "stop"]
    assert ended, "no completion ended by itself: the end token's log-probability goes untested"
    for generation in ended:
        assert generation.token_ids[-1] == tokenizer.eos_token_id
        assert generation.stop_token_included
    for i, generation in enumerate(generations):
        question = QUESTIONS[i // 8]
        plain = plain_logprobs(tiny, question, generation, temperature, torch.float32)
        assert generation.logprobs == pytest.approx(plain, abs=1e-4)


def test_the_comparison_sees_another_temperature_template_or_stop_token(
    open_engine: Any, tiny: Path
) -> None:
    async def main() -> Generation:
        async with open_engine(tiny) as engine:
            answer: Generation = await engine.generate(
                request(engine, QUESTIONS[0], seed=3, temperature=0.7, max_tokens=20)
            )
            return answer

    generation = asyncio.run(main())
    close = pytest.approx(
        plain_logprobs(tiny, QUESTIONS[0], generation, 0.7, torch.float32), abs=1e-4
    )
    assert generation.logprobs == close
    other_temperature = plain_logprobs(tiny, QUESTIONS[0], generation, 1.0, torch.float32)
    other_prompt = plain_logprobs(tiny, QUESTIONS[0] + "\n", generation, 0.7, torch.float32)
    assert other_temperature != close
    assert other_prompt != close
    assert generation.logprobs[:-1] != close


def test_bfloat16_logprobs_stay_near_a_plain_forward_pass(open_engine: Any, tiny: Path) -> None:
    async def main() -> list[Generation]:
        async with open_engine(tiny, dtype="bfloat16") as engine:
            generations: list[Generation] = await asyncio.gather(
                *(engine.generate(request(engine, q, seed=i)) for i, q in enumerate(QUESTIONS * 4))
            )
            return generations

    differences = []
    for i, generation in enumerate(asyncio.run(main())):
        plain = plain_logprobs(tiny, QUESTIONS[i % 4], generation, 1.0, torch.bfloat16)
        differences += [abs(a - b) for a, b in zip(generation.logprobs, plain, strict=True)]
    assert sum(differences) / len(differences) < 0.01
    assert max(differences) < 0.1
