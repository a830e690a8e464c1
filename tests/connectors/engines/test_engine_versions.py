"""Where the built-in engine keeps versions: two in memory, the others in their directories."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from headrace.connectors.engines import (
    GenerationFailed,
    InvalidWeights,
)
from headrace.connectors.engines.transformers.weights import load_model, read_weights
from tests.connectors.engines.asking import logprobs_under, start
from tests.connectors.engines.asking import prompt_request as request

CPU = torch.device("cpu")


def test_a_third_version_evicts_the_oldest_that_is_free(
    open_engine: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            await engine.load(1, tiny_versions[1])
            await engine.load(2, tiny_versions[2])
            assert engine.versions() == (1, 2)
            # Asked for again, an evicted version comes back from its directory.
            old = await engine.generate(request(version=0))
            assert set(old.versions) == {0}
            assert old.logprobs == pytest.approx(logprobs_under(endless, old), abs=1e-4)
            assert engine.current == 2
            assert engine.versions() == (0, 2)

    asyncio.run(main())


def test_a_third_version_waits_while_the_old_one_is_pinned(
    open_engine: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            (pinned,) = await start(engine, request(version=0, max_tokens=600))
            await engine.load(1, tiny_versions[1])
            loading = asyncio.create_task(engine.load(2, tiny_versions[2]))
            free = await engine.generate(request())
            assert set(free.versions) == {1}, "the new version took a place that was in use"
            # A newcomer for the old version waits behind the load, else it could wait for ever.
            newcomer = asyncio.create_task(engine.generate(request(version=0, seed=9)))
            assert set((await pinned).versions) == {0}
            await loading
            assert engine.current == 2
            assert set((await newcomer).versions) == {0}

    asyncio.run(main())


def test_an_evicted_version_whose_directory_is_gone_fails_its_requests(
    open_engine: Any, endless: Path, tiny_versions: dict[int, Path], tmp_path: Path
) -> None:
    async def main() -> None:
        gone = tmp_path / "gone"
        shutil.copytree(tiny_versions[1], gone)
        async with open_engine(endless) as engine:
            await engine.load(1, gone)
            await engine.load(2, tiny_versions[2])
            await engine.load(3, tiny_versions[3])
            shutil.rmtree(gone)
            with pytest.raises(InvalidWeights, match="Cannot read"):
                await engine.generate(request(version=1))
            assert set((await engine.generate(request())).versions) == {3}

    asyncio.run(main())


def test_weights_that_do_not_fit_change_nothing(
    open_engine: Any, endless: Path, tiny_versions: dict[int, Path], tmp_path: Path
) -> None:
    def write(name: str, weights: dict[str, torch.Tensor]) -> Path:
        (tmp_path / name).mkdir()
        save_file(weights, tmp_path / name / "model.safetensors")
        return tmp_path / name

    good = load_file(tiny_versions[1] / "model.safetensors")
    embedding = "model.embed_tokens.weight"
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "model.safetensors").write_bytes(b"not a tensor in sight")
    broken = {
        "lacks": write("lacks", {k: v for k, v in good.items() if k != "model.norm.weight"}),
        "no weights": write("more", {**good, "adapter.weight": torch.zeros(1)}),
        "in the file and": write("shape", {**good, embedding: good[embedding][:, :8].clone()}),
        "tied": write("tied", {**good, "lm_head.weight": good[embedding] + 1}),
        "Cannot read": damaged,
    }

    async def main() -> None:
        async with open_engine(endless) as engine:
            before = await engine.generate(request())
            for message, directory in broken.items():
                with pytest.raises(InvalidWeights, match=message):
                    await engine.load(1, directory)
            assert (engine.current, engine.versions()) == (0, (0,))
            after = await engine.generate(request())
            assert after.logprobs == pytest.approx(before.logprobs, abs=1e-4)
            await engine.load(1, write("both", {**good, "lm_head.weight": good[embedding].clone()}))
            assert engine.current == 1

    asyncio.run(main())


def test_weights_that_give_no_numbers_fail_requests_and_can_be_replaced(
    open_engine: Any, endless: Path, tiny_versions: dict[int, Path], tmp_path: Path
) -> None:
    weights = load_file(tiny_versions[1] / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], torch.nan)
    save_file(weights, tmp_path / "model.safetensors")

    async def main() -> None:
        async with open_engine(endless) as engine:
            await engine.load(1, tmp_path)
            with pytest.raises(GenerationFailed, match="not finite"):
                await engine.generate(request())
            await engine.activate(0)
            assert len((await engine.generate(request())).token_ids) == 12

    asyncio.run(main())


def test_a_copied_model_keeps_its_tied_weights(tiny: Path, tiny_versions: dict[int, Path]) -> None:
    model = load_model(tiny, torch.float32, CPU)
    other = model.copy()
    other.put(read_weights(tiny_versions[1]))
    assert other.module.lm_head.weight is other.module.model.embed_tokens.weight
    assert not torch.equal(other.module.lm_head.weight, model.module.lm_head.weight)
