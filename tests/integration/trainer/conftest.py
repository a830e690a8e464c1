"""A tiny model, and a policy of each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from headrace.infra.embedded.models import tiny_llama

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack
from tests.integration.trainer.bench import TrainerBench


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def bench(stack: Stack, model: Path, tmp_path: Path) -> Iterator[TrainerBench]:
    bench = TrainerBench(stack, model, tmp_path)
    yield bench
    bench.close()
