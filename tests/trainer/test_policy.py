"""The policy gives what the model itself would, and refuses models it would train wrongly."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PretrainedConfig,
    Qwen2Config,
)

from headrace.trainer.batch import Pack, PackingConfig, TrainingRow, pack_rows
from headrace.trainer.errors import PolicyLoadError
from headrace.trainer.policy import Policy, refuse_window, window_of

MakeRow = Callable[..., TrainingRow]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_packed_hidden_states_give_the_logits_of_the_plain_model(
    make_row: MakeRow, tiny_model: Path, dtype: torch.dtype
) -> None:
    policy = Policy.load(tiny_model, compute_dtype=dtype)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=dtype)
    rows = [make_row([5, 6, 7], [8, 9], name="a"), make_row([5, 6, 11], [12, 13, 14], name="b")]
    batch = pack_rows(rows, PackingConfig())
    (pack,) = batch.packs
    with torch.no_grad():
        logits = policy.hidden_states(pack)[torch.from_numpy(pack.sources)] @ policy.head.t()
        expected = torch.cat(
            [plain(torch.from_numpy(rows[i].path())[None]).logits[0, 2:] for i in pack.rows]
        )
    # Two roundings of a logit of up to 8 in bf16; fp32 differs in the order of sums alone.
    tolerance = 1e-5 if dtype == torch.float32 else 0.06
    torch.testing.assert_close(logits, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("tied", [True, False])
def test_the_head_is_that_of_the_model_tied_or_not(
    build_model: Callable[..., Path], tied: bool
) -> None:
    policy = Policy.load(build_model(tied=tied))
    assert ("lm_head.weight" in policy.parameters()) is not tied
    assert policy.head is policy.parameters()["model.embed_tokens.weight"] or not tied


def test_parameters_are_published_values_in_any_compute_dtype(tiny_model: Path) -> None:
    policy = Policy.load(tiny_model, compute_dtype=torch.float32)
    for parameter in policy.parameters().values():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, parameter.bfloat16().float())


def test_rotary_frequencies_keep_their_precision(tiny_model: Path) -> None:
    buffers = dict(Policy.load(tiny_model).model.named_buffers())
    assert buffers["model.rotary_emb.inv_freq"].dtype == torch.float32


def test_a_model_that_ignores_the_mask_is_refused(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "transformers.models.llama.modeling_llama.create_causal_mask", lambda **_: None
    )
    with pytest.raises(PolicyLoadError, match="does not attend by the mask"):
        Policy.load(tiny_model)


def test_a_model_that_caps_its_logits_is_refused() -> None:
    config = Gemma2Config(
        vocab_size=48,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        final_logit_softcapping=1.0,
    )
    model = Gemma2ForCausalLM(config)  # type: ignore[no-untyped-call]  # transformers' own
    with pytest.raises(PolicyLoadError, match="capped"):
        Policy(model)


@pytest.mark.parametrize(
    ("config", "window"),
    [
        (MistralConfig(sliding_window=8), 8),
        (MistralConfig(sliding_window=None), None),
        (Qwen2Config(sliding_window=8, use_sliding_window=False), None),
        (Qwen2Config(sliding_window=8, use_sliding_window=True, max_window_layers=1), 8),
        (LlamaConfig(), None),
    ],
    ids=["mistral", "mistral-whole", "qwen2-whole", "qwen2-sliding", "llama"],
)
def test_the_shortest_window_is_found(config: PretrainedConfig, window: int | None) -> None:
    assert window_of(config) == window


def mistral(sliding_window: int) -> MistralForCausalLM:
    config = MistralConfig(
        vocab_size=48,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.3,
        sliding_window=sliding_window,
    )
    torch.manual_seed(0)
    return MistralForCausalLM(config)  # type: ignore[no-untyped-call]  # transformers' own


def test_a_window_that_rows_reach_beyond_is_refused_and_a_longer_one_is_not() -> None:
    with pytest.raises(PolicyLoadError, match="not those of each path alone"):
        Policy(mistral(16))
    policy = Policy(mistral(512))
    refuse_window(policy, 512)
    with pytest.raises(PolicyLoadError, match="look back 512 tokens, and rows may have 513"):
        refuse_window(policy, 513)


def test_what_is_calculated_again_has_no_dropout(make_row: MakeRow) -> None:
    config = OPTConfig(
        vocab_size=48,
        hidden_size=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        word_embed_proj_dim=32,
        dropout=0.5,
    )
    model = OPTForCausalLM(config)  # type: ignore[no-untyped-call]  # transformers' own
    policy = Policy(model)
    (pack,) = pack_rows([make_row([1, 2, 3], [4, 5])], PackingConfig()).packs
    plain = policy.hidden_states(pack)
    policy.recompute()
    again = policy.hidden_states(pack)
    assert torch.equal(again, plain)
    again.sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    assert all(one.grad is not None for one in policy.decoder_parameters().values())


def test_a_directory_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyLoadError, match="no model directory"):
        Policy.load(tmp_path / "nothing")


def test_a_pack_of_one_row_needs_no_mask_and_reads_the_same(
    tiny_model: Path, make_row: Callable[..., TrainingRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mask of 32,768 tokens that is written out is a gibibyte."""
    policy = Policy.load(tiny_model, compute_dtype=torch.float32)
    (alone,) = pack_rows([make_row([1, 2, 3], [4, 5, 6])], PackingConfig()).packs
    (both,) = pack_rows(
        [make_row([1, 2, 3], [4, 5, 6]), make_row([1, 9], [8], name="t")], PackingConfig()
    ).packs
    assert (alone.is_path, both.is_path) == (True, False)
    with torch.no_grad():
        shared = policy.hidden_states(both)[both.sources[:3]]
        monkeypatch.setattr(Pack, "attention_mask", lambda _: pytest.fail("it was written out"))
        hidden = policy.hidden_states(alone)[alone.sources]
    assert torch.allclose(hidden, shared, atol=1e-5)
