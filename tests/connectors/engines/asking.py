"""Requests to the built-in engine, and what a plain forward pass says of their answers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from headrace.connectors.engines import Generation, GenerationRequest, SamplingParameters
from headrace.connectors.engines.transformers.engine import TransformersEngine

SYSTEM = "Answer with one calculator call, and nothing else at all."


def load(engine: TransformersEngine) -> tuple[int, int]:
    """Requests that run, and that wait."""
    stats = engine.stats()
    return stats.running, stats.waiting


def conversation(question: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


def request(
    engine: TransformersEngine, question: str, version: int | None = None, **sampling: Any
) -> GenerationRequest:
    return GenerationRequest(
        prompt_ids=engine.render(conversation(question)),
        sampling=SamplingParameters(**{"max_tokens": 12, "seed": 1, **sampling}),
        version=version,
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


QUESTIONS = [f"What is {a} {op} {b}?" for a, op, b in
             [(1, "plus", 2), (33, "times", 4), (5, "minus", 678), (9, "times", 99)]]  # fmt: skip
