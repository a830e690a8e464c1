"""The mask of a pack by blocks is the mask written out, and the model reads the same through it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headrace.trainer.attention import BLOCK, blocks, flex_mask
from headrace.trainer.batch import Pack, PackingConfig, TrainingRow, pack_rows
from headrace.trainer.policy import Policy

MakeRow = Callable[..., TrainingRow]


@st.composite
def forests(draw: st.DrawFn) -> Pack:
    """Depth-first forests of up to four blocks: long runs, and branches anywhere."""
    size = draw(st.integers(1, 4 * BLOCK))
    cuts = sorted(draw(st.sets(st.integers(1, size), max_size=12)))
    parents = np.arange(-1, size - 1)  # a chain, but where a branch begins
    for cut in (cut for cut in cuts if cut < size):
        ancestors = [cut - 1]
        while ancestors[-1] >= 0:
            ancestors.append(int(parents[ancestors[-1]]))
        parents[cut] = draw(st.sampled_from(ancestors))
    ends = np.arange(1, size + 1)
    for node in range(size - 1, -1, -1):
        if parents[node] >= 0:
            ends[parents[node]] = max(ends[parents[node]], ends[node])
    return Pack(
        token_ids=np.zeros(size, np.int64),
        positions=np.zeros(size, np.int64),
        subtree_end=ends,
        rows=(),
        sources=np.empty(0, np.int64),
    )


@given(forests())
def test_blocks_are_those_of_the_mask(pack: Pack) -> None:
    mask = pack.attention_mask()
    found = blocks(pack.subtree_end)
    for row in range(found.some.shape[0]):
        for column in range(found.some.shape[1]):
            part = mask[row * BLOCK : (row + 1) * BLOCK, column * BLOCK : (column + 1) * BLOCK]
            held = bool(found.some[row, column] or found.full[row, column])
            assert held == bool(part.any())
            assert found.full[row, column] <= bool(part.all())
            # What need not look is not looked at, but on the diagonal.
            assert row == column or found.full[row, column] == bool(part.all())


@given(forests())
def test_a_flex_mask_written_out_is_the_mask(pack: Pack) -> None:
    block_mask = flex_mask(pack, torch.device("cpu"))
    size = pack.token_ids.size
    query, key = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    zero = torch.zeros((), dtype=torch.int64)
    inside = block_mask.mask_mod(zero, zero, query, key)
    dense = block_mask.to_dense()[0, 0].bool()
    held = dense.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)[:size, :size]
    assert np.array_equal((inside & held).numpy(), pack.attention_mask())


@pytest.mark.parametrize("budget", [64, 200])
def test_hidden_states_are_those_of_the_dense_mask(
    make_row: MakeRow, tiny_model: Path, budget: int
) -> None:
    shared = [int(token) for token in np.arange(40) % 47 + 1]
    rows = [
        make_row([*shared, *range(1, 2 + number)], [7] * (10 + number), name=f"r{number}")
        for number in range(8)
    ]
    batch = pack_rows(rows, PackingConfig(token_budget=budget))
    dense = Policy.load(tiny_model, compute_dtype=torch.float32)
    # The forward pass alone, and not compiled: a CPU has no more of it.
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        flex = Policy.load(tiny_model, compute_dtype=torch.float32, attention="flex")
        for pack in batch.packs:
            torch.testing.assert_close(
                flex.hidden_states(pack), dense.hidden_states(pack), rtol=1e-4, atol=1e-4
            )
