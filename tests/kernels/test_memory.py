"""How much a call holds, counted at the sizes of real models without holding it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.kernels.allocations import peak_bytes
from benchmarks.kernels.grid import SHAPES
from benchmarks.kernels.memory import MIB, TOKENS

pytestmark = pytest.mark.interpreter

ROOT = Path(__file__).parents[2]
OURS = ("--ours", "--json")
COUNTED = ("smollm2-135m", "qwen2.5-7b")
EACH = pytest.mark.parametrize("shape", COUNTED)
# Columns of the batch, partial sums of tiles, scaled copies of a block's rows.
REST = 1.15


@pytest.fixture(scope="module")
def counts() -> dict[tuple[str, str], int]:
    """Bytes of each route and shape. A process of its own: here Triton is in its interpreter."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.kernels.memory", *OURS, "--shapes", *COUNTED],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return {(one["route"], one["shape"]): one["peak_bytes"] for one in json.loads(run.stdout)}


def test_storages_are_counted_until_they_die() -> None:
    def make() -> tuple[object, list[torch.Tensor]]:
        given = torch.empty(1 << 20)

        def function() -> torch.Tensor:
            first = given + 1  # 4 MiB
            second = first + 1
            del first
            return second[: 1 << 10].clone()  # 4 KiB, while the second is held

        return function, [given]

    assert peak_bytes(make) == 8 * MIB  # type: ignore[arg-type]  # a function, in a tuple


@EACH
def test_the_recomputing_path_holds_its_gradients_and_little_else(
    counts: dict[tuple[str, str], int], shape: str
) -> None:
    """Both gradients in bf16, that of the hidden states in fp32 too, and a strip of 64 MiB."""
    depth, vocabulary = SHAPES[shape]
    bound = 2 * depth * vocabulary + 6 * TOKENS * depth + 64 * MIB
    assert counts["headrace, in 64 MiB", shape] <= REST * bound


@EACH
def test_the_one_pass_path_holds_its_exponents_and_the_heads_gradient_in_fp32(
    counts: dict[tuple[str, str], int], shape: str
) -> None:
    depth, vocabulary = SHAPES[shape]
    exponents, gradient = 2 * 2048 * vocabulary, 4 * depth * vocabulary
    # At the end the gradient is held twice, fp32 and bf16; the exponents are gone by then.
    bound = gradient + max(exponents, gradient // 2) + 2 * TOKENS * depth
    assert counts["headrace, 2,048 rows at a time", shape] <= REST * bound


@EACH
def test_with_a_main_gradient_only_exponents_and_one_gradient_are_held(
    counts: dict[tuple[str, str], int], shape: str
) -> None:
    depth, vocabulary = SHAPES[shape]
    bound = 2 * 2048 * vocabulary + 2 * TOKENS * depth
    assert counts["headrace, into a main gradient", shape] <= REST * bound


@EACH
def test_no_route_comes_near_whole_logits_twice(
    counts: dict[tuple[str, str], int], shape: str
) -> None:
    logits = 2 * TOKENS * SHAPES[shape][1]
    assert all(held <= 1.1 * logits for (route, at), held in counts.items() if at == shape), counts
