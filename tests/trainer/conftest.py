"""A tiny random model, and rows to train it on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from headrace.trainer.batch import TrainingRow

VOCABULARY = 48


@pytest.fixture(scope="session")
def build_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a two-layer random Llama (bf16, grouped-query attention) and returns its directory."""
    from transformers import LlamaConfig, LlamaForCausalLM

    def build(*, tied: bool = True, seed: int = 0) -> Path:
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=tied,
            initializer_range=0.3,  # far from uniform, so that errors show
        )
        directory = tmp_path_factory.mktemp("model")
        model = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]  # transformers' own
        torch.nn.Module.to(model, torch.bfloat16)
        model.save_pretrained(directory)
        (directory / "tokenizer.json").write_text("{}")
        return directory

    return build


@pytest.fixture(scope="session")
def tiny_model(build_model: Callable[..., Path]) -> Path:
    return build_model()


@pytest.fixture(scope="session")
def make_row() -> Callable[..., TrainingRow]:
    """A row from its tokens; all else has a value that differs from token to token."""

    def make(
        prompt: list[int],
        sampled: list[int],
        *,
        name: str = "s",
        advantage: float = 1.0,
        temperature: float = 1.0,
        version: int = 3,
        episode: str | None = None,
        token_weights: list[float] | None = None,
    ) -> TrainingRow:
        size = len(sampled)
        return TrainingRow(
            sample_id=name,
            episode_id=episode or f"episode-{name}",
            group_id="group",
            prompt_ids=np.array(prompt, np.uint32),
            sampled_ids=np.array(sampled, np.uint32),
            behaviour_logp=np.linspace(-4.0, -3.0, size, dtype=np.float32),
            versions=np.full(size, version, np.int64),
            advantage=advantage,
            temperature=temperature,
            token_weights=None if token_weights is None else np.array(token_weights, np.float32),
        )

    return make
