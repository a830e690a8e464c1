"""Training rows, and their packing into sequences that share prefixes.

A row is one call: a prompt and the tokens sampled after it. Its path (prompt and sampled tokens but
the last) is what the model must read; the paths of a batch form a trie, and a pack is that trie in
depth-first order, each shared prefix once. A token attends its ancestors and itself, and has its
depth as position, so every hidden state is what the row alone would give. (Tree packing: arXiv
2511.00413.) Which prefixes are shared (few-shot prompts across groups, earlier turns, samples that
begin alike) needs no knowledge of groups or turns.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.trainer.errors import RowError

IntArray = NDArray[np.int64]


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class TrainingRow:
    """One call to train on. Raises RowError when its columns do not fit each other."""

    sample_id: str
    episode_id: str
    group_id: str
    prompt_ids: NDArray[np.uint32]
    """[P], P ≥ 1."""
    sampled_ids: NDArray[np.uint32]
    """[S], S ≥ 1; stop tokens included."""
    behaviour_logp: NDArray[np.float32]
    """[S], of softmax(logits / temperature) at sampling."""
    versions: NDArray[np.int64]
    """[S], the policy version that sampled each token."""
    advantage: float
    temperature: float
    token_weights: NDArray[np.float32] | None = None
    """[S], credit within the call; None is uniform."""
    truncated: bool = False
    """Whether it ran into its limit of tokens."""
    agent: str = ""
    turn: int = 0
    """Its place among the calls of its episode."""
    reward: float = 0.0
    """What it earned, for a critic."""

    def __post_init__(self) -> None:
        where = f"sample {self.sample_id}"
        sampled = self.sampled_ids.size
        if self.prompt_ids.size == 0:
            raise RowError(f"{where} has no prompt tokens: drop it")
        if sampled == 0:
            raise RowError(f"{where} has no sampled tokens: drop it")
        for name in ("behaviour_logp", "versions", "token_weights"):
            column = getattr(self, name)
            if column is not None and column.shape != (sampled,):
                raise RowError(f"{where}: {name} has {column.size} of {sampled} tokens: drop it")
        if not np.isfinite(self.behaviour_logp).all():
            raise RowError(f"{where}: behaviour_logp is not finite: drop it")
        if self.token_weights is not None and not np.isfinite(self.token_weights).all():
            raise RowError(f"{where}: token_weights are not finite: drop it")
        if not np.isfinite(self.reward):
            raise RowError(f"{where}: reward is {self.reward}: drop it")
        if not np.isfinite(self.advantage):
            raise RowError(f"{where}: advantage is {self.advantage}: drop it")
        if not 0.0 < self.temperature < np.inf:
            raise RowError(f"{where}: temperature is {self.temperature}: it cannot be trained")

    @property
    def length(self) -> int:
        """Tokens the model reads for this row alone."""
        return self.prompt_ids.size + self.sampled_ids.size - 1

    def path(self) -> IntArray:
        """The tokens the model reads: nothing is predicted from the last sampled one."""
        path: IntArray = np.concatenate([self.prompt_ids, self.sampled_ids[:-1]]).astype(np.int64)
        return path


@dataclass(kw_only=True, slots=True, frozen=True)
class PackingConfig:
    """How rows are packed."""

    token_budget: int = 2048
    """Most tokens of one pack, and so of a row."""
    fill: int = 1024
    """Tokens to which packs are filled; a longer row has a pack of its own. With a mask that is
    written out, attention costs a pack's square."""
    share_prefixes: bool = True
    """False repeats every prefix, row after row; the result is the same, only slower."""

    def __post_init__(self) -> None:
        if self.token_budget < 2:
            raise ValueError(f"token_budget is {self.token_budget}: it must be at least 2")
        if self.fill < 1:
            raise ValueError(f"fill is {self.fill}: it must be at least 1")

    @property
    def pack_tokens(self) -> int:
        """Tokens at which a pack is full."""
        return min(self.fill, self.token_budget)


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Pack:
    """A forest in depth-first order: L tokens to read, M sampled tokens to score."""

    token_ids: IntArray
    """[L]"""
    positions: IntArray
    """[L], depth in the tree."""
    subtree_end: IntArray
    """[L], one past a token's last descendant."""
    rows: tuple[int, ...]
    """Rows of the batch in this pack; the sampled tokens follow each other in this order."""
    sources: IntArray
    """[M], index in the pack of the token whose hidden state predicts the sampled token."""

    @property
    def is_path(self) -> bool:
        """Whether it is one row after all: every token attends all before it."""
        return bool((self.subtree_end == self.token_ids.size).all())

    def attention_mask(self) -> NDArray[np.bool_]:
        """[L, L], true where the row's token attends the column's: its ancestors and itself."""
        index = np.arange(self.token_ids.size)
        return (index[None, :] <= index[:, None]) & (index[:, None] < self.subtree_end[None, :])


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Batch:
    """Rows and the packs that hold them."""

    rows: tuple[TrainingRow, ...]
    packs: tuple[Pack, ...]
    """Of the rows that are read."""

    @property
    def row_tokens(self) -> int:
        """Tokens read if no row shared a prefix."""
        return sum(self.rows[place].length for pack in self.packs for place in pack.rows)

    @property
    def rows_read(self) -> int:
        """Rows in packs."""
        return sum(len(pack.rows) for pack in self.packs)

    @property
    def packed_tokens(self) -> int:
        """Tokens read as packed."""
        return sum(pack.token_ids.size for pack in self.packs)

    @property
    def tokens_saved(self) -> int:
        """Tokens that sharing spares."""
        return self.row_tokens - self.packed_tokens


def pack_rows(
    rows: Sequence[TrainingRow],
    config: PackingConfig,
    reads: Callable[[TrainingRow], bool] = lambda _: True,
) -> Batch:
    """Pack rows under the token budget; the packs do not depend on the order of `rows`.

    Those that `reads` denies stand in the batch and in no pack, unless it denies all. Raises
    RowError for a row longer than the budget, or when there are no rows.
    """
    if not rows:
        raise RowError("there are no rows to train on: do not take a step")
    for row in rows:
        if row.length > config.token_budget:
            raise RowError(
                f"sample {row.sample_id} has {row.length} tokens and a pack holds "
                f"{config.token_budget}: drop it"
            )
    places = [place for place, row in enumerate(rows) if reads(row)] or list(range(len(rows)))
    return Batch(rows=tuple(rows), packs=tuple(_pack(rows, places, config)))


def _pack(
    rows: Sequence[TrainingRow], places: Sequence[int], config: PackingConfig
) -> Iterator[Pack]:
    # In lexicographic order the longest prefix a path shares with any earlier one is the one it
    # shares with the path just before it. Big-endian bytes sort as the tokens do.
    paths = {place: rows[place].path() for place in places}
    order = sorted(
        places, key=lambda place: (paths[place].astype(">u4").tobytes(), rows[place].sample_id)
    )
    forest = _Forest()
    for index in order:
        path = paths[index]
        shared = forest.shared(path) if config.share_prefixes else 0
        if forest.size and forest.size + path.size - shared > config.pack_tokens:
            yield forest.pack()
            forest, shared = _Forest(), 0
        forest.add(index, path, shared, rows[index].prompt_ids.size)
    yield forest.pack()


class _Forest:
    """A pack under construction."""

    def __init__(self) -> None:
        self.size = 0
        self._tokens: list[IntArray] = []
        self._positions: list[IntArray] = []
        self._ends: list[tuple[IntArray, int]] = []
        self._rows: list[int] = []
        self._sources: list[IntArray] = []
        self._last = np.empty(0, np.int64)
        """Tokens of the path added last."""
        self._nodes = np.empty(0, np.int64)
        """Where they lie in the pack."""

    def shared(self, path: IntArray) -> int:
        """Length of the prefix that `path` shares with the path added last."""
        size = min(path.size, self._last.size)
        differ = np.flatnonzero(path[:size] != self._last[:size])
        return int(differ[0]) if differ.size else size

    def add(self, row: int, path: IntArray, shared: int, prompt: int) -> None:
        fresh = np.arange(self.size, self.size + path.size - shared)
        self._ends.append((self._nodes[shared:], self.size))
        self._tokens.append(path[shared:])
        self._positions.append(np.arange(shared, path.size))
        self._nodes = np.concatenate([self._nodes[:shared], fresh])
        self._last = path
        self._rows.append(row)
        self._sources.append(self._nodes[prompt - 1 :])
        self.size += fresh.size

    def pack(self) -> Pack:
        ends = np.empty(self.size, np.int64)
        for nodes, end in [*self._ends, (self._nodes, self.size)]:
            ends[nodes] = end
        return Pack(
            token_ids=np.concatenate(self._tokens),
            positions=np.concatenate(self._positions),
            subtree_end=ends,
            rows=tuple(self._rows),
            sources=np.concatenate(self._sources),
        )
