"""Requests to an engine, and what a plain forward pass says of their answers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from headrace.connectors.engines import (
    Constraint,
    Engine,
    Generation,
    GenerationRequest,
    Increment,
    SamplingParameters,
)
from tests.support.waiting import wait_until_async

QUESTIONS = (
    "What is 1 plus 2?",
    "What is 33 times 4?",
    "What is 5 minus 678?",
    "What is 9 times 99?",
)
PROMPT = tuple(range(10, 60))
SYSTEM = "Answer with one calculator call, and nothing else at all."


def load(engine: Engine) -> tuple[int, int]:
    """Requests that run, and that wait."""
    stats = engine.stats()
    return stats.running, stats.waiting


def conversation(question: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


def request(
    engine: Engine,
    question: str,
    version: int | None = None,
    *,
    top_logprobs: int = 0,
    constraint: Constraint | None = None,
    **sampling: Any,
) -> GenerationRequest:
    return GenerationRequest(
        prompt_ids=engine.encode(engine.render(conversation(question))),
        sampling=SamplingParameters(**{"max_tokens": 12, "seed": 1, **sampling}),
        version=version,
        top_logprobs=top_logprobs,
        constraint=constraint,
    )


def assert_same(one: Generation, other: Generation) -> None:
    assert one.token_ids == other.token_ids
    assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert (one.text, one.finish_reason) == (other.text, other.finish_reason)


def plain_logprobs(
    directory: Path, question: str, generation: Generation, temperature: float, dtype: torch.dtype
) -> list[float]:
    """What a trainer computes: one forward pass over prompt and completion, no engine code."""
    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    prompt = tokenizer.apply_chat_template(
        conversation(question), add_generation_prompt=True, return_dict=False
    )
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype)
    ids = torch.tensor([[*prompt, *generation.token_ids]])
    with torch.no_grad():
        logits = model(ids).logits[0, len(prompt) - 1 : -1].float()
    logprobs = (logits / temperature).log_softmax(-1)
    chosen: list[float] = logprobs.gather(1, ids[0, len(prompt) :].unsqueeze(1))[:, 0].tolist()
    return chosen


def prompt_request(
    version: int | None = None,
    max_tokens: int = 12,
    seed: int = 1,
    prompt: tuple[int, ...] = PROMPT,
) -> GenerationRequest:
    sampling = SamplingParameters(max_tokens=max_tokens, seed=seed)
    return GenerationRequest(prompt_ids=prompt, sampling=sampling, version=version)


def logprobs_under(directory: Path, generation: Generation) -> list[float]:
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    ids = torch.tensor([[*PROMPT, *generation.token_ids]])
    with torch.no_grad():
        logprobs = model(ids).logits[0, len(PROMPT) - 1 : -1].log_softmax(-1)
    chosen: list[float] = logprobs.gather(1, ids[0, len(PROMPT) :].unsqueeze(1))[:, 0].tolist()
    return chosen


async def start(engine: Engine, *requests: GenerationRequest) -> list[asyncio.Task[Generation]]:
    """Tasks of requests that have their first tokens."""
    before = engine.stats()
    tasks = [asyncio.create_task(engine.generate(r)) for r in requests]
    await wait_until_async(
        lambda: (
            engine.stats().running == before.running + len(requests)
            and engine.stats().tokens_total > before.tokens_total + 3 * len(requests)
        ),
        f"the first tokens of {len(requests)} requests",
    )
    return tasks


async def told(engine: Engine, wanted: GenerationRequest) -> tuple[Generation, list[Increment]]:
    """A completion and its increments; all were told before it came, in the loop that waits."""
    parts: list[Increment] = []
    loop = asyncio.get_running_loop()

    def on_increment(part: Increment) -> None:
        assert asyncio.get_running_loop() is loop
        parts.append(part)

    generation = await engine.generate(wanted, on_increment)
    count = len(parts)
    await asyncio.sleep(0)
    assert len(parts) == count, "an increment came after the completion"
    return generation, parts


def assert_parts_are(generation: Generation, parts: list[Increment]) -> None:
    for field in ("token_ids", "logprobs", "versions", "top_logprobs"):
        joined = tuple(value for part in parts for value in getattr(part, field))
        assert joined == getattr(generation, field), field
    assert "".join(part.text for part in parts) == generation.text
    assert all(part.token_ids for part in parts)
