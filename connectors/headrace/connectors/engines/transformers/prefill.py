"""Computing the keys and values of prompts, each shared beginning once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from headrace.connectors.engines.transformers.batch import SPARE_COLUMNS, DecodeBatch
from headrace.connectors.engines.transformers.memory import KeyValues, causal_mask
from headrace.connectors.engines.transformers.prefixes import (
    MIN_SHARED_TOKENS,
    Prefix,
    PrefixCache,
    TokenIds,
    shared_length,
)
from headrace.connectors.engines.transformers.row import DecodeRow
from headrace.connectors.engines.transformers.weights import LanguageModel

# Bounds the activations of one forward pass; a longer prompt goes alone.
MAX_FORWARD_TOKENS = 8192


@dataclass(slots=True, frozen=True)
class _Prompt:
    ids: TokenIds
    rows: list[DecodeRow]
    prefix: Prefix | None

    @property
    def known(self) -> int:
        return self.prefix.length if self.prefix else 0

    @property
    def suffix(self) -> TokenIds:
        return self.ids[self.known :]


class Prefill:
    """Turns waiting rows into batches that are ready to decode."""

    def __init__(self, shared_tokens: int) -> None:
        """shared_tokens: how many tokens to remember of earlier prompts; 0 shares nothing."""
        self.prefixes = PrefixCache(shared_tokens)
        self.computed_tokens = 0

    def run(
        self, model: LanguageModel, version: int, rows: list[DecodeRow]
    ) -> Iterator[tuple[DecodeBatch, Tensor]]:
        """Batches of the rows, each with its logits of the first token, [rows, vocabulary]."""
        prompts = self._prompts(model, version, rows)
        for chunk in _chunks(prompts):
            memory, seen, logits = self._forward(model, chunk)
            self._remember(version, chunk, memory, seen)
            owners = [i for i, prompt in enumerate(chunk) for _ in prompt.rows]
            chunk_rows = [row for prompt in chunk for row in prompt.rows]
            index = torch.tensor(owners, device=logits.device)
            yield (
                DecodeBatch(
                    chunk_rows,
                    KeyValues(memory.data.index_select(2, index), memory.length),
                    seen.index_select(0, index),
                ),
                logits.index_select(0, index),
            )

    def _prompts(self, model: LanguageModel, version: int, rows: list[DecodeRow]) -> list[_Prompt]:
        if not self.prefixes.limit:
            return [_Prompt(_ids(row.request.prompt_ids), [row], None) for row in rows]
        equal: dict[tuple[int, ...], list[DecodeRow]] = {}
        for row in rows:
            equal.setdefault(row.request.prompt_ids, []).append(row)
        prompts = [(_ids(prompt), rows) for prompt, rows in equal.items()]
        for shared in _shared_beginnings([ids for ids, _ in prompts]):
            self._compute_shared(model, version, shared)
        return [_Prompt(ids, rows, self.prefixes.match(version, ids)) for ids, rows in prompts]

    def _compute_shared(self, model: LanguageModel, version: int, shared: TokenIds) -> None:
        prefix = self.prefixes.match(version, shared)
        prompt = _Prompt(shared, [], prefix)
        if len(shared) - prompt.known >= MIN_SHARED_TOKENS:
            memory, seen, _ = self._forward(model, [prompt])
            self._remember(version, [prompt], memory, seen)

    def _forward(
        self, model: LanguageModel, prompts: list[_Prompt]
    ) -> tuple[KeyValues, Tensor, Tensor]:
        """The suffixes' whole memory, its used columns, and the logits of each last token.

        The last token has a pass of its own, as where all before it is remembered: so a prompt is
        computed in the same shapes whether or not it was asked before, and its answer repeats.
        """
        before = max(prompt.known for prompt in prompts)
        length = max(len(prompt.suffix) for prompt in prompts)
        memory = model.memory(len(prompts), before + length + SPARE_COLUMNS)
        seen = np.zeros((len(prompts), before + length), dtype=np.bool_)
        tokens = np.zeros((len(prompts), length), dtype=np.int64)
        positions = np.zeros((len(prompts), length), dtype=np.int64)
        for i, prompt in enumerate(prompts):
            if prompt.prefix:
                memory.data[:, :, i : i + 1, :, before - prompt.known : before] = prompt.prefix.data
            seen[i, before - prompt.known : before] = True
            pad = length - len(prompt.suffix)
            seen[i, before + pad :] = True
            tokens[i, pad:] = prompt.suffix
            positions[i, pad:] = np.arange(prompt.known, len(prompt.ids))
        memory.length = before
        used = torch.from_numpy(seen).to(model.device)
        if length > 1:
            _extend(model, memory, used, tokens[:, :-1], positions[:, :-1])
        logits = _extend(model, memory, used, tokens[:, -1:], positions[:, -1:])
        self.computed_tokens += sum(len(prompt.suffix) for prompt in prompts)
        return memory, used, logits

    def _remember(
        self, version: int, prompts: list[_Prompt], memory: KeyValues, seen: Tensor
    ) -> None:
        if not self.prefixes.limit:
            return
        for i, prompt in enumerate(prompts):
            columns = seen[i].nonzero().squeeze(1)
            data = memory.data[:, :, i : i + 1].index_select(4, columns)
            self.prefixes.add(version, prompt.ids, data)


def _extend(
    model: LanguageModel, memory: KeyValues, used: Tensor, tokens: TokenIds, positions: TokenIds
) -> Tensor:
    """Compute the memory's next columns, [rows, q]; the logits of the last one."""
    known, width = memory.length, tokens.shape[1]
    logits = model.forward(
        torch.from_numpy(tokens).to(model.device),
        torch.from_numpy(positions).to(model.device),
        causal_mask(used[:, :known], used[:, known : known + width]),
        memory,
    )
    memory.commit(width)
    return logits


def _ids(prompt: tuple[int, ...]) -> TokenIds:
    return np.array(prompt, dtype=np.int64)


def _shared_beginnings(prompts: list[TokenIds]) -> list[TokenIds]:
    """Beginnings that several prompts have in common, each as long as pays most."""
    found = []
    rest = list(prompts)
    while len(rest) > 1:
        leader = rest.pop(0)
        lengths = [min(shared_length(leader, other), len(other) - 1) for other in rest]
        # Sharing the k longest saves computing the shortest of these k times.
        ordered = sorted(lengths, reverse=True)
        saved, best = max((length * k, length) for k, length in enumerate(ordered, 1))
        best = min(best, len(leader) - 1)
        if saved and best >= MIN_SHARED_TOKENS:
            found.append(leader[:best])
            rest = [ids for ids, length in zip(rest, lengths, strict=True) if length < best]
    return found


def _chunks(prompts: list[_Prompt]) -> Iterator[list[_Prompt]]:
    """Prompts of like length together, so that padding costs at most about half a pass."""
    chunk: list[_Prompt] = []
    for prompt in sorted(prompts, key=lambda prompt: len(prompt.suffix)):
        length = len(prompt.suffix)
        if chunk and (
            length > 2 * len(chunk[0].suffix) + 16 or length * (len(chunk) + 1) > MAX_FORWARD_TOKENS
        ):
            yield chunk
            chunk = []
        chunk.append(prompt)
    if chunk:
        yield chunk
