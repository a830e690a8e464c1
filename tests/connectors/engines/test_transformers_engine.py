"""The built-in engine: prompts that begin alike are computed once, and what repeats exactly."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from headrace.connectors.engines import Generation, GenerationRequest, SamplingParameters
from headrace.connectors.engines.transformers.sampling import sample, uniform
from headrace.connectors.engines.transformers.weights import LanguageModel
from tests.connectors.engines.asking import (
    QUESTIONS,
    SYSTEM,
    assert_same,
    conversation,
    plain_logprobs,
    request,
)


def test_sharing_prompt_beginnings_changes_nothing(open_engine: Any, endless: Path) -> None:
    async def answers(shared: int) -> tuple[list[Generation], int]:
        async with open_engine(endless, shared_prompt_tokens=shared) as engine:
            requests = [request(engine, QUESTIONS[i % 3], seed=i) for i in range(9)]
            first = await asyncio.gather(*map(engine.generate, requests))
            later = await engine.generate(request(engine, QUESTIONS[3]))
            again = await engine.generate(request(engine, QUESTIONS[0]))
            return [*first, later, again], engine.stats().shared_prompt_tokens_total

    with_sharing, shared_tokens = asyncio.run(answers(8192))
    without, none = asyncio.run(answers(0))
    assert none == 0
    assert shared_tokens > 8 * len(SYSTEM) // 2
    for one, other in zip(with_sharing, without, strict=True):
        assert_same(one, other)


def test_choices_of_one_prompt_compute_it_once(open_engine: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            choices = [request(engine, QUESTIONS[0], seed=seed) for seed in range(8)]
            size = len(choices[0].prompt_ids)
            answers = await asyncio.gather(*map(engine.generate, choices))
            stats = engine.stats()
            assert stats.prompt_tokens_total == 8 * size
            assert stats.shared_prompt_tokens_total == 7 * size
            assert len({answer.token_ids for answer in answers}) == 8

    asyncio.run(main())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_request_alone_repeats_bit_by_bit(
    open_engine: Any, endless: Path, dtype: str, temperature: float
) -> None:
    async def main() -> None:
        async with open_engine(endless, dtype=dtype) as engine:
            for seed, question in enumerate(QUESTIONS):
                alone = request(engine, question, seed=seed, temperature=temperature)
                first = await engine.generate(alone)
                second = await engine.generate(alone)
                # Others that begin alike, one of them with the whole of it.
                longer = GenerationRequest(
                    prompt_ids=(*alone.prompt_ids, 7, 8, 9), sampling=alone.sampling
                )
                await asyncio.gather(*map(engine.generate, [request(engine, "Why?"), longer]))
                assert first == second == await engine.generate(alone)

    asyncio.run(main())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_logprob_is_of_the_very_distribution_that_was_drawn_from(
    open_engine: Any, endless: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = LanguageModel.forward
    seen: list[torch.Tensor] = []

    def seeing(self: LanguageModel, *args: Any) -> torch.Tensor:
        logits = forward(self, *args)
        seen.append(logits.clone())
        return logits

    monkeypatch.setattr(LanguageModel, "forward", seeing)

    async def main() -> None:
        async with open_engine(endless, dtype=dtype) as engine:
            for _ in range(3):  # read whole, then from memory
                answer = await engine.generate(request(engine, QUESTIONS[0], temperature=0.7))
                logits = torch.cat(seen[-len(answer.token_ids) :])
                logprobs = (logits.float() / 0.7).log_softmax(-1)
                drawn = logprobs[range(len(logits)), list(answer.token_ids)]
                assert drawn.tolist() == list(answer.logprobs)

    asyncio.run(main())


def test_an_empty_completion_is_legal(open_engine: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_engine(tiny) as engine:
            ids = engine.encode(engine.render(conversation(QUESTIONS[0])))
            tokenizer: Any = AutoTokenizer.from_pretrained(tiny)
            end = tokenizer.eos_token_id
            model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[:, -1]
            plain = SamplingParameters()
            seed = next(
                seed
                for seed in range(100_000)
                if sample(logits, [plain], [uniform(seed, 0)]).tokens == [end]
            )
            answer = await engine.generate(request(engine, QUESTIONS[0], seed=seed))
            assert answer.token_ids == (end,)
            assert answer.text == ""
            assert answer.finish_reason == "stop"
            assert answer.stop_token_included

    asyncio.run(main())


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
