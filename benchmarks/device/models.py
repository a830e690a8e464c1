"""Models of random weights, and batches of rows for them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from headrace.trainer.batch import Batch, PackingConfig, TrainingRow, pack_rows
from headrace.trainer.policy import Policy

Mask = Literal["sdpa", "flex_attention"]
"""How the model reads a pack, in transformers' words."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Shape:
    """What decides a decoder's arithmetic."""

    depth: int
    """Hidden size."""
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    inner: int
    """Width of the MLP."""
    vocabulary: int
    positions: int = 65_536
    spread: float = 0.02
    """Deviation of the random weights."""


QWEN3_06B = Shape(
    depth=1024,
    layers=28,
    heads=16,
    key_value_heads=8,
    head_width=128,
    inner=3072,
    vocabulary=151_936,
)
"""Qwen3-0.6B, head tied to the embedding."""
SMALL = Shape(
    depth=256,
    layers=4,
    heads=4,
    key_value_heads=2,
    head_width=64,
    inner=512,
    vocabulary=2_048,
    spread=0.08,
)
TINY = Shape(
    depth=32,
    layers=2,
    heads=2,
    key_value_heads=1,
    head_width=16,
    inner=48,
    vocabulary=130,
    spread=0.2,
)


def make_policy(
    shape: Shape,
    device: torch.device,
    *,
    dtype: torch.dtype,
    attention: Mask = "sdpa",
) -> Policy:
    """A policy of random weights; on one kind of device, equal from call to call."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.depth,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_width,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=True,
        initializer_range=shape.spread,
    )
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]  # transformers' own
            config, dtype=dtype, attn_implementation=attention
        )
    return Policy(model)


def make_batch(
    shape: Shape,
    *,
    budget: int,
    rows: int,
    prompt: int,
    sampled: int,
    shared: int = 0,
    seed: int = 0,
) -> Batch:
    """Rows of random tokens, `shared` of each prompt common to all; advantages of both signs."""
    g = np.random.default_rng(seed)
    common = g.integers(1, shape.vocabulary, shared)
    made = [
        TrainingRow(
            sample_id=f"s{number:04d}",
            episode_id=f"e{number:04d}",
            group_id="g",
            prompt_ids=np.concatenate(
                [common, g.integers(1, shape.vocabulary, prompt - shared)]
            ).astype(np.uint32),
            sampled_ids=g.integers(1, shape.vocabulary, sampled).astype(np.uint32),
            # About what random weights give: the ratios stay near 1.
            behaviour_logp=np.full(sampled, -np.log(shape.vocabulary), np.float32),
            versions=np.zeros(sampled, np.int64),
            advantage=(-1.0) ** number * (1.0 + number / rows),
            temperature=1.0,
        )
        for number in range(rows)
    ]
    return pack_rows(made, PackingConfig(token_budget=budget, fill=budget))
