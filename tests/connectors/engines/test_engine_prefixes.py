"""The memory of prompts: longest match, per version, bounded."""

import numpy as np
import torch

from headrace.connectors.engines.transformers.prefixes import PrefixCache, TokenIds, shared_length


def ids(*parts: range) -> TokenIds:
    return np.array([token for part in parts for token in part], dtype=np.int64)


def data(length: int) -> torch.Tensor:
    return torch.arange(length).reshape(1, 1, 1, 1, length, 1).float()


def test_shared_length_counts_the_common_beginning() -> None:
    assert shared_length(ids(range(5)), ids(range(3), range(9, 12))) == 3
    assert shared_length(ids(range(5)), ids(range(8))) == 5
    assert shared_length(ids(range(1, 5)), ids(range(5))) == 0


def test_the_longest_match_leaves_the_last_token_to_compute() -> None:
    cache = PrefixCache(1000)
    cache.add(0, ids(range(40)), data(40))
    cache.add(0, ids(range(60)), data(60))
    match = cache.match(0, ids(range(60)))
    assert match is not None
    assert match.length == 59
    assert match.data.flatten().tolist() == list(range(59))


def test_a_part_of_an_entry_matches() -> None:
    cache = PrefixCache(1000)
    cache.add(0, ids(range(60)), data(60))
    match = cache.match(0, ids(range(50), range(100, 110)))
    assert match is not None
    assert match.length == 50


def test_short_beginnings_are_not_shared() -> None:
    cache = PrefixCache(1000)
    cache.add(0, ids(range(60)), data(60))
    assert cache.match(0, ids(range(31), range(100, 110))) is None


def test_versions_do_not_share() -> None:
    cache = PrefixCache(1000)
    cache.add(0, ids(range(60)), data(60))
    assert cache.match(1, ids(range(60))) is None
    cache.add(1, ids(range(60)), data(60))
    cache.forget(0)
    assert cache.match(0, ids(range(60))) is None
    assert cache.match(1, ids(range(60))) is not None


def test_the_least_recently_used_leaves_first() -> None:
    cache = PrefixCache(100)
    cache.add(0, ids(range(0, 40)), data(40))
    cache.add(0, ids(range(100, 140)), data(40))
    assert cache.match(0, ids(range(0, 40))) is not None
    cache.add(0, ids(range(200, 240)), data(40))
    assert len(cache) == 2
    assert cache.match(0, ids(range(100, 140))) is None
    assert cache.match(0, ids(range(0, 40))) is not None


def test_an_entry_larger_than_the_limit_is_not_kept() -> None:
    cache = PrefixCache(50)
    cache.add(0, ids(range(60)), data(60))
    assert len(cache) == 0
