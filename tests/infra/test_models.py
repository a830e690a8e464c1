"""The models that come along: whole or absent, and free of where they were made."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from headrace.infra.embedded import models
from headrace.infra.embedded.models import (
    BUNDLED_MODEL,
    MANIFEST,
    ModelUnavailable,
    bundled_model,
    sha256_of,
    tiny_llama,
)


def test_a_tiny_llama_loads_and_speaks_chatml(tmp_path: Path) -> None:
    directory = tiny_llama(tmp_path / "tiny")
    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Grüße 7"}], add_generation_prompt=True, tokenize=False
    )
    assert text == "<|im_start|>user\nGrüße 7<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.convert_ids_to_tokens(ids[0]) == "<|im_start|>"
    assert tokenizer.eos_token == "<|im_end|>"

    model = AutoModelForCausalLM.from_pretrained(directory)
    assert model.dtype == torch.bfloat16
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_equal_seeds_make_equal_weights(tmp_path: Path) -> None:
    directories = [tiny_llama(tmp_path / str(i), seed=seed) for i, seed in enumerate((3, 3, 4))]
    one, same, other = (sha256_of(d / "model.safetensors") for d in directories)
    assert one == same
    assert one != other


def test_a_tiny_llama_leaves_the_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    tiny_llama(tmp_path / "tiny", seed=5)
    assert torch.equal(torch.rand(1), expected)


def test_a_vocabulary_without_all_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 259"):
        tiny_llama(tmp_path, vocabulary=100)


@pytest.fixture
def quick_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A source file, and a conversion that writes a tiny model; counts its runs."""
    source = tmp_path / "source.gguf"
    source.write_bytes(b"gguf")
    runs: list[int] = []

    def convert(source: Path, directory: Path, on_progress: Any) -> None:
        runs.append(1)
        tiny_llama(directory)

    monkeypatch.setattr(models, "_bundled_gguf", lambda: source)
    monkeypatch.setattr(models, "_convert", convert)
    return runs


def test_a_model_is_converted_once(tmp_path: Path, quick_conversion: list[int]) -> None:
    directory = bundled_model(tmp_path / "cache")
    assert bundled_model(tmp_path / "cache") == directory
    assert len(quick_conversion) == 1
    manifest = json.loads((directory / MANIFEST).read_text())
    assert manifest["sha256"] == sha256_of(directory / "model.safetensors")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [BUNDLED_MODEL]
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in directory.iterdir())


@pytest.mark.parametrize("damage", ["lost file", "short file", "no manifest", "older conversion"])
def test_a_damaged_or_older_cache_is_made_again(
    tmp_path: Path, quick_conversion: list[int], damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = bundled_model(tmp_path / "cache")
    match damage:
        case "lost file":
            (directory / "tokenizer.json").unlink()
        case "short file":
            (directory / "model.safetensors").write_bytes(b"")
        case "no manifest":
            (directory / MANIFEST).unlink()
        case "older conversion":
            monkeypatch.setattr(models, "CONVERSION", models.CONVERSION + 1)
    assert bundled_model(tmp_path / "cache") == directory
    assert len(quick_conversion) == 2
    assert load_file(directory / "model.safetensors")


def test_a_conversion_that_fails_leaves_nothing(
    tmp_path: Path, quick_conversion: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(source: Path, directory: Path, on_progress: Any) -> None:
        (directory / "half").write_text("")
        raise OSError("disk full")

    monkeypatch.setattr(models, "_convert", failing)
    with pytest.raises(OSError, match="disk full"):
        bundled_model(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_the_package_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable, match=r"headrace\[local\]"):
        bundled_model(tmp_path)


@pytest.mark.integration
def test_the_bundled_model_converts_to_a_plain_directory(tmp_path: Path) -> None:
    told: list[str] = []
    directory = bundled_model(tmp_path, told.append)
    assert told

    for path in directory.glob("*.json*"):
        text = path.read_text()
        assert "quantization" not in text
        assert str(tmp_path) not in text
        assert "site-packages" not in text
    configuration = json.loads((directory / "config.json").read_text())
    assert configuration["eos_token_id"] == 2
    assert configuration["tie_word_embeddings"]
    weights = load_file(directory / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}

    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") == 2
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France? Answer in one word."}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=False,
    )
    model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    answer = model.generate(prompt, max_new_tokens=8, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, prompt.shape[1] :])
