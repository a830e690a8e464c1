"""The model under training: hidden states of a pack, and the LM head.

Its parameters are always bf16 values, the ones that are published and that the engines run; the
fp32 masters are the optimiser's. `compute_dtype` says in which type the arithmetic is done.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from headrace.connectors.engines.arithmetic import choose
from headrace.trainer.attention import dense_mask, flex_mask
from headrace.trainer.batch import Pack
from headrace.trainer.choices import Attention
from headrace.trainer.errors import PolicyLoadError

PUBLISHED_DTYPE = torch.bfloat16
_CHECKED = 64
"""Tokens of a part of the check's paths: together more than a block of FlexAttention."""
_IMPLEMENTATION: dict[Attention, str] = {"dense": "sdpa", "flex": "flex_attention"}


class Policy:
    """A causal LM that reads packs.

    Raises PolicyLoadError when the architecture ignores a custom attention mask, or does more
    after the last hidden state than one product with its LM head: training would be wrong.
    """

    def __init__(self, model: PreTrainedModel, *, source: Path | None = None) -> None:
        self.model = model
        model.train(False)  # the ratios compare one function with itself: no dropout
        self.source = source
        """Where configuration and tokenizer files lie."""
        self._mask = flex_mask if _is_flex(model) else dense_mask
        # transformers types neither getter
        self._decoder = model.get_decoder()  # type: ignore[no-untyped-call]
        self.head: Tensor = _head(model)
        """LM head [V, H]; the input embedding itself where the two are tied."""
        with torch.no_grad():
            _refuse_unfit(self)
            for parameter in model.parameters():
                parameter.copy_(parameter.to(PUBLISHED_DTYPE))

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        compute_dtype: torch.dtype | None = None,
        device: str = "cpu",
        attention: Attention = "dense",
        recompute: bool = False,
    ) -> "Policy":
        """Load a Hugging Face model directory; nothing is ever fetched from a network.

        With `recompute` a layer's activations are calculated again for its gradient.

        Without a `compute_dtype` it is the one that the device does fast.
        """
        if not (path / "config.json").is_file():
            raise PolicyLoadError(f"{path} is no model directory: it has no config.json")
        if compute_dtype is None:
            compute_dtype = getattr(torch, choose(device=device).dtype)
        # Not model.to(dtype): that would round the rotary frequencies as well.
        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=compute_dtype,
            attn_implementation=_IMPLEMENTATION[attention],
            local_files_only=True,
        )
        torch.nn.Module.to(model, device)  # transformers' own is mistyped
        policy = cls(model, source=path)
        if recompute:
            policy.recompute()
        return policy

    def recompute(self) -> None:
        """Keep no activations within layers. Raises PolicyLoadError where the model cannot."""
        layers = [
            one for one in self.model.modules() if isinstance(one, GradientCheckpointingLayer)
        ]
        if not layers:
            raise PolicyLoadError(
                f"{type(self.model).__name__} has no layers that can be calculated again: set "
                "[trainer] recompute to false, or use another model"
            )
        # Not transformers' own switch: it asks for a layer in training, which has dropout.
        for layer in layers:
            layer.forward = partial(
                checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False
            )

    @property
    def device(self) -> torch.device:
        return self.head.device

    def parameters(self) -> dict[str, Tensor]:
        """Trained parameters by name, tied ones once."""
        return dict(self.model.named_parameters())

    def decoder_parameters(self) -> dict[str, Tensor]:
        """Those that hidden states are made of, by name."""
        return dict(self._decoder.named_parameters())

    def buffers(self) -> dict[str, Tensor]:
        """What the model keeps beside its parameters, by name (a router's bias, say)."""
        kept = self.model.state_dict().keys()
        return {name: value for name, value in self.model.named_buffers() if name in kept}

    def hidden_states(self, pack: Pack) -> Tensor:
        """Last hidden state of every token of a pack, [L, H] in the compute dtype."""
        # Of one row the mask is the model's own, which need not be written out.
        plain = pack.is_path and self._mask is dense_mask
        out = self._decoder(
            input_ids=torch.from_numpy(pack.token_ids).to(self.device)[None],
            position_ids=torch.from_numpy(pack.positions).to(self.device)[None],
            attention_mask=None if plain else self._mask(pack, self.device),
            use_cache=False,
        )
        hidden = out.last_hidden_state
        assert isinstance(hidden, Tensor)
        return hidden[0]


def _is_flex(model: PreTrainedModel) -> bool:
    return bool(model.config._attn_implementation == _IMPLEMENTATION["flex"])


def _head(model: PreTrainedModel) -> Tensor:
    last = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # transformers' own
    if not isinstance(last, torch.nn.Linear) or last.bias is not None:
        raise PolicyLoadError(f"{type(model).__name__} has no plain LM head (Linear, no bias)")
    return last.weight


def window_of(config: Any) -> int | None:
    """Tokens that a layer with the shortest attention looks back; None: every layer sees all."""
    config = config.get_text_config()
    windows = []
    sliding = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if sliding and getattr(config, "use_sliding_window", True):
        windows += [sliding] if kinds is None or "sliding_attention" in kinds else []
    if chunk := getattr(config, "attention_chunk_size", None):
        windows += [chunk] if kinds is None or "chunked_attention" in kinds else []
    return min(windows, default=None)


def refuse_window(policy: Policy, tokens: int) -> None:
    """Raises PolicyLoadError where rows of so many tokens reach beyond a layer's window.

    A pack's mask is the same for every layer: tokens beyond a window would be attended.
    """
    window = window_of(policy.model.config)
    if window is not None and window < tokens:
        raise PolicyLoadError(
            f"{type(policy.model).__name__} has layers that look back {window} tokens, and rows "
            f"may have {tokens}: they would be trained as full attention. Set [trainer] "
            f"token_budget and [policy] max_sequence to {window} or less, or use another model"
        )


def _refuse_unfit(policy: Policy) -> None:
    """A packed pass must give the model's own logits: two paths that share half of their tokens."""
    name = type(policy.model).__name__
    vocabulary = policy.head.shape[0]
    tokens = np.arange(3 * _CHECKED) * 7_919 % max(1, vocabulary - 1)
    shared, first, second = np.split(tokens, 3)
    ends = np.full(3 * _CHECKED, 3 * _CHECKED)
    ends[_CHECKED : 2 * _CHECKED] = 2 * _CHECKED  # the first branch ends where the second begins
    depths = np.arange(_CHECKED)
    pack = Pack(
        token_ids=tokens,
        positions=np.concatenate([depths, depths + _CHECKED, depths + _CHECKED]),
        subtree_end=ends,
        rows=(),
        sources=np.empty(0, np.int64),
    )
    packed = policy.hidden_states(pack) @ policy.head.t()
    for branch, start in ((first, _CHECKED), (second, 2 * _CHECKED)):
        path = torch.from_numpy(np.concatenate([shared, branch])).to(policy.device)
        logits = policy.model(input_ids=path[None]).logits[0]
        own = policy._decoder(input_ids=path[None], use_cache=False).last_hidden_state[0]
        if not _same(own @ policy.head.t(), logits):
            raise PolicyLoadError(
                f"the logits of {name} are not hidden · headᵀ (capped or scaled): use another model"
            )
        if not _same(packed[start : start + _CHECKED], logits[_CHECKED:]):
            raise PolicyLoadError(
                f"{name} does not attend by the mask of a pack: its logits are not those of each "
                "path alone. Use another model"
            )


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding in the dtype of the model."""
    tolerance = 8 * torch.finfo(a.dtype).eps
    return bool((a.float() - b.float()).norm() <= tolerance * b.float().norm())
