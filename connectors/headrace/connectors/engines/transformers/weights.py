"""The model of one policy version: loading it, and putting other weights into it."""

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from headrace.connectors.engines.errors import InvalidWeights
from headrace.connectors.engines.transformers.memory import ATTENTION, KeyValues, register_attention

Weights = dict[str, Tensor]


class LanguageModel:
    """A causal language model with full attention in every layer."""

    def __init__(self, module: Any, device: torch.device) -> None:
        # Any: the model classes of transformers are typed by their own conventions.
        self.module = module
        self.device = device
        config = module.config.get_text_config()
        self.vocabulary = int(config.vocab_size)
        heads = config.num_key_value_heads
        dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._memory_shape = (config.num_hidden_layers, heads, dim)

    def memory(self, rows: int, capacity: int) -> KeyValues:
        """An empty memory for some rows."""
        layers, heads, dim = self._memory_shape
        shape = (layers, 2, rows, heads, capacity, dim)
        return KeyValues(torch.zeros(shape, dtype=self.module.dtype, device=self.device), 0)

    def forward(self, tokens: Tensor, positions: Tensor, mask: Tensor, memory: KeyValues) -> Tensor:
        """Logits of the last column, [rows, vocabulary] in the model's dtype.

        Args:
            tokens: int64 [rows, q]; positions: likewise.
            mask: bool [rows, 1, q, memory.length + q].
            memory: gets the new columns; the caller commits them.
        """
        output = self.module(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=memory,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def copy(self) -> "LanguageModel":
        """The same model with weights of its own; tied weights stay tied."""
        return LanguageModel(copy.deepcopy(self.module), self.device)

    def put(self, weights: Weights) -> None:
        """Overwrite the weights in place.

        Raises:
            InvalidWeights: a name or a shape does not fit; nothing was overwritten.
        """
        sources = [(tensor, _source(names, tensor, weights)) for names, tensor in self._tensors()]
        unknown = weights.keys() - {name for names, _ in self._tensors() for name in names}
        if unknown:
            raise InvalidWeights(f"The model has no weights {_some(unknown)}: is it another model?")
        for target, source in sources:
            target.copy_(source)

    def _tensors(self) -> list[tuple[list[str], Tensor]]:
        """Each distinct tensor of the model with all its names (tied weights have several)."""
        state: dict[str, Tensor] = self.module.state_dict(keep_vars=True)
        named: dict[int, tuple[list[str], Tensor]] = {}
        for name, tensor in state.items():
            named.setdefault(id(tensor), ([], tensor))[0].append(name)
        return list(named.values())


def load_model(directory: Path, dtype: torch.dtype, device: torch.device) -> LanguageModel:
    """The model of a directory in the manner of transformers, ready for inference.

    Raises:
        InvalidWeights: transformers cannot load it, or it has layers that are not full attention.
    """
    register_attention()
    disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
    try:
        module: nn.Module = AutoModelForCausalLM.from_pretrained(
            directory, dtype=dtype, attn_implementation=ATTENTION, local_files_only=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise InvalidWeights(f"Cannot load a model from {directory}: {error}") from error
    config: Any = module.config
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise InvalidWeights(
            f"The model in {directory} has layers of kind {_some(kinds)}; this engine keeps a full "
            "attention memory only: serve it with vLLM."
        )
    return LanguageModel(module.eval().requires_grad_(False).to(device), device)


def read_weights(directory: Path) -> Weights:
    """The tensors of `model.safetensors`, in main memory.

    Raises:
        InvalidWeights: the file is missing or damaged.
    """
    path = directory / "model.safetensors"
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InvalidWeights(
            f"Cannot read {path}: {error}. A policy version's directory holds its whole weights "
            "in this one file."
        ) from error


def _source(names: list[str], target: Tensor, weights: Weights) -> Tensor:
    given = [weights[name] for name in names if name in weights]
    if not given:
        raise InvalidWeights(f"The file lacks {names[0]}: is it an adapter or another model?")
    if given[0].shape != target.shape:
        raise InvalidWeights(
            f"{names[0]} is {list(given[0].shape)} in the file and {list(target.shape)} in the "
            "model: is it another model?"
        )
    if any(not torch.equal(given[0], other) for other in given[1:]):
        raise InvalidWeights(f"{' and '.join(names)} are tied in the model and differ in the file")
    return given[0]


def _some(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
