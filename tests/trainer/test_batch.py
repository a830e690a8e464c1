"""Packing: every token sees exactly its own row, however prefixes are shared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.kernels import linear_logp
from headrace.trainer.batch import Batch, PackingConfig, TrainingRow, pack_rows
from headrace.trainer.errors import RowError
from headrace.trainer.policy import Policy

MakeRow = Callable[..., TrainingRow]

# A small alphabet, so that prefixes of every kind meet: equal prompts, a prompt that extends
# another, samples that begin alike, a later turn that holds an earlier one.
TOKENS = st.lists(st.integers(1, 3), min_size=1, max_size=7)
CALLS = st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=12)


def rows_of(make_row: MakeRow, calls: list[tuple[list[int], list[int]]]) -> list[TrainingRow]:
    return [
        make_row(prompt, sampled, name=f"s{i}", advantage=(-1) ** i * (1 + i / 3))
        for i, (prompt, sampled) in enumerate(calls)
    ]


def assert_every_token_sees_its_own_row(batch: Batch) -> None:
    seen: list[int] = []
    for pack in batch.packs:
        mask = pack.attention_mask()
        at = 0
        for index in pack.rows:
            row = batch.rows[index]
            for offset in range(row.sampled_ids.size):
                visible = np.flatnonzero(mask[pack.sources[at]])
                context = row.path()[: row.prompt_ids.size + offset]
                assert pack.token_ids[visible].tolist() == context.tolist()
                assert pack.positions[visible].tolist() == list(range(context.size))
                at += 1
            seen.append(index)
        assert at == pack.sources.size
    assert sorted(seen) == list(range(len(batch.rows)))


@given(calls=CALLS, budget=st.integers(13, 60), share=st.booleans())
def test_a_token_attends_the_tokens_before_it_in_its_row_and_no_other(
    make_row: MakeRow, calls: list[tuple[list[int], list[int]]], budget: int, share: bool
) -> None:
    config = PackingConfig(token_budget=budget, share_prefixes=share)
    batch = pack_rows(rows_of(make_row, calls), config)
    assert_every_token_sees_its_own_row(batch)
    assert all(pack.token_ids.size <= budget for pack in batch.packs)


@given(calls=CALLS)
def test_in_one_pack_every_prefix_is_there_once(
    make_row: MakeRow, calls: list[tuple[list[int], list[int]]]
) -> None:
    batch = pack_rows(rows_of(make_row, calls), PackingConfig())
    prefixes = {
        tuple(row.path()[:end].tolist()) for row in batch.rows for end in range(1, row.length + 1)
    }
    assert batch.packed_tokens == len(prefixes)
    assert batch.tokens_saved == batch.row_tokens - len(prefixes)


@given(calls=CALLS, data=st.data())
def test_packs_do_not_depend_on_the_order_of_rows(
    make_row: MakeRow, calls: list[tuple[list[int], list[int]]], data: st.DataObject
) -> None:
    rows = rows_of(make_row, calls)
    shuffled = data.draw(st.permutations(rows))
    config = PackingConfig(token_budget=20)
    one, other = pack_rows(rows, config), pack_rows(shuffled, config)
    for a, b in zip(one.packs, other.packs, strict=True):
        assert a.token_ids.tolist() == b.token_ids.tolist()
        assert [rows[i].sample_id for i in a.rows] == [shuffled[i].sample_id for i in b.rows]


def test_without_sharing_every_row_stands_alone(make_row: MakeRow) -> None:
    rows = [make_row([1, 2, 3], [4, 5], name=str(i)) for i in range(4)]
    batch = pack_rows(rows, PackingConfig(share_prefixes=False))
    assert batch.packed_tokens == batch.row_tokens == 16
    assert batch.tokens_saved == 0
    shared = pack_rows(rows, PackingConfig())
    assert shared.packed_tokens == 4


def logp_and_gradients(
    policy: Policy, batch: Batch
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Log-probabilities by row, and the gradient of their sum weighted by the row's advantage."""
    logp = {}
    total = torch.zeros(())
    for pack in batch.packs:
        hidden = policy.hidden_states(pack)[torch.from_numpy(pack.sources)]
        rows = [batch.rows[i] for i in pack.rows]
        targets = torch.from_numpy(np.concatenate([r.sampled_ids for r in rows]).astype(np.int64))
        scores = torch.log_softmax(hidden @ policy.head.t(), -1)
        scores = scores.gather(1, targets[:, None])[:, 0]
        torch.testing.assert_close(scores, linear_logp(hidden, policy.head, targets).logp)
        for row, part in zip(rows, scores.split([r.sampled_ids.size for r in rows]), strict=True):  # type: ignore[no-untyped-call]  # torch's own
            logp[row.sample_id] = part.detach()
            total = total + row.advantage * part.sum()
    names = policy.parameters()
    return logp, dict(zip(names, torch.autograd.grad(total, list(names.values())), strict=True))


@settings(max_examples=15, deadline=None)
@given(calls=CALLS, budget=st.integers(13, 60))
@example(calls=[([1], [1]), ([1], [1])], budget=13)
def test_sharing_changes_neither_log_probabilities_nor_gradients(
    make_row: MakeRow, tiny_model: Path, calls: list[tuple[list[int], list[int]]], budget: int
) -> None:
    policy = Policy.load(tiny_model, compute_dtype=torch.float32)
    rows = rows_of(make_row, calls)
    alone = pack_rows(rows, PackingConfig(token_budget=13, share_prefixes=False))
    shared = pack_rows(rows, PackingConfig(token_budget=budget))
    logp, gradients = logp_and_gradients(policy, alone)
    shared_logp, shared_gradients = logp_and_gradients(policy, shared)
    for name, expected in logp.items():
        torch.testing.assert_close(shared_logp[name], expected, rtol=1e-5, atol=1e-5)
    # Some are zero but for rounding: a prompt of one token attends to nothing else.
    rounding = 5e-6 * max(gradient.norm() for gradient in gradients.values())
    for name, expected in gradients.items():
        error = (shared_gradients[name] - expected).norm()
        assert error <= 1e-5 * expected.norm() + rounding, name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_ids": np.empty(0, np.uint32)}, "no prompt"),
        ({"sampled_ids": np.empty(0, np.uint32)}, "no sampled"),
        ({"behaviour_logp": np.zeros(1, np.float32)}, "behaviour_logp has 1 of 2"),
        ({"behaviour_logp": np.array([0, np.nan], np.float32)}, "behaviour_logp is not finite"),
        ({"versions": np.zeros(3, np.int64)}, "versions has 3 of 2"),
        ({"token_weights": np.array([1, np.inf], np.float32)}, "token_weights"),
        ({"advantage": float("nan")}, "advantage"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_a_row_that_cannot_be_trained_is_refused(
    make_row: MakeRow, change: dict[str, Any], message: str
) -> None:
    row = make_row([1], [2, 3])
    columns = {name: getattr(row, name) for name in TrainingRow.__dataclass_fields__}
    with pytest.raises(RowError, match=message):
        TrainingRow(**{**columns, **change})


def test_a_row_beyond_the_budget_is_named(make_row: MakeRow) -> None:
    with pytest.raises(RowError, match="sample long has 11 tokens and a pack holds 10"):
        pack_rows([make_row([1] * 8, [2] * 4, name="long")], PackingConfig(token_budget=10))


def test_no_rows_are_no_batch() -> None:
    with pytest.raises(RowError, match="no rows"):
        pack_rows([], PackingConfig())


def test_a_row_longer_than_packs_are_filled_has_a_pack_of_its_own(make_row: MakeRow) -> None:
    rows = [
        make_row([1, 2], [3], name="a"),
        make_row([1, 2], [4], name="b"),
        make_row(list(range(5, 25)), [6], name="long"),
        make_row([30, 31], [5], name="c"),
    ]
    batch = pack_rows(rows, PackingConfig(token_budget=32, fill=8))
    held = [sorted(batch.rows[row].sample_id for row in pack.rows) for pack in batch.packs]
    assert held == [["a", "b"], ["long"], ["c"]]
