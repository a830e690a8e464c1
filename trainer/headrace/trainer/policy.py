"""The model under training: hidden states of a pack, and the LM head.

Its parameters are always bf16 values, the ones that are published and that the engines run; the
fp32 masters are the optimiser's. `compute_dtype` says in which type the arithmetic is done.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from headrace.connectors.engines.arithmetic import choose
from headrace.trainer.attention import dense_mask, flex_mask
from headrace.trainer.batch import Pack
from headrace.trainer.errors import PolicyLoadError
from headrace.trainer.settings import Attention

PUBLISHED_DTYPE = torch.bfloat16
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
    ) -> "Policy":
        """Load a Hugging Face model directory; nothing is ever fetched from a network.

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
        return cls(model, source=path)

    @property
    def device(self) -> torch.device:
        return self.head.device

    def parameters(self) -> dict[str, Tensor]:
        """Trained parameters by name, tied ones once."""
        return dict(self.model.named_parameters())

    def hidden_states(self, pack: Pack) -> Tensor:
        """Last hidden state of every token of a pack, [L, H] in the compute dtype."""
        out = self._decoder(
            input_ids=torch.from_numpy(pack.token_ids).to(self.device)[None],
            position_ids=torch.from_numpy(pack.positions).to(self.device)[None],
            attention_mask=self._mask(pack, self.device),
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


def _refuse_unfit(policy: Policy) -> None:
    name = type(policy.model).__name__

    def pack(tokens: list[int]) -> Pack:
        # Unrelated tokens, each a tree of its own.
        size = len(tokens)
        return Pack(
            token_ids=np.array(tokens),
            positions=np.zeros(size, np.int64),
            subtree_end=np.arange(1, size + 1),
            rows=(),
            sources=np.empty(0, np.int64),
        )

    beside, alone = policy.hidden_states(pack([1, 2])), policy.hidden_states(pack([2]))
    if not _same(beside[1], alone[0]):
        raise PolicyLoadError(f"{name} ignores the attention mask of a pack: use another model")
    logits = policy.model(input_ids=torch.tensor([[2]], device=policy.device)).logits[0, 0]
    if not _same(logits, alone[0] @ policy.head.t()):
        raise PolicyLoadError(
            f"the logits of {name} are not hidden · headᵀ (capped or scaled): use another model"
        )


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding in the dtype of the model."""
    tolerance = 8 * torch.finfo(a.dtype).eps
    return bool((a.float() - b.float()).norm() <= tolerance * b.float().norm())
