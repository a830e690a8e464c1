"""Weights change between decode steps: nothing is dropped, and every token names its version."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from headrace.connectors.engines import (
    Generation,
    GenerationFailed,
    GenerationRequest,
    InvalidWeights,
    SamplingParameters,
    UnknownVersion,
)
from headrace.connectors.engines.transformers.engine import TransformersEngine
from headrace.connectors.engines.transformers.weights import load_model, read_weights
from tests.support.waiting import wait_until_async

PROMPT = tuple(range(10, 60))
CPU = torch.device("cpu")


def request(
    version: int | None = None,
    max_tokens: int = 12,
    seed: int = 1,
    prompt: tuple[int, ...] = PROMPT,
) -> GenerationRequest:
    sampling = SamplingParameters(max_tokens=max_tokens, seed=seed)
    return GenerationRequest(prompt_ids=prompt, sampling=sampling, version=version)


def logprobs_under(directory: Path, generation: Generation) -> list[float]:
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    ids = torch.tensor([[*PROMPT, *generation.token_ids]])
    with torch.no_grad():
        logprobs = model(ids).logits[0, len(PROMPT) - 1 : -1].log_softmax(-1)
    chosen: list[float] = logprobs.gather(1, ids[0, len(PROMPT) :].unsqueeze(1))[:, 0].tolist()
    return chosen


async def start(
    engine: TransformersEngine, *requests: GenerationRequest
) -> list[asyncio.Task[Generation]]:
    """Tasks of requests that have their first tokens."""
    before = engine.stats()
    tasks = [asyncio.create_task(engine.generate(r)) for r in requests]
    await wait_until_async(
        lambda: (
            engine.stats().running == before.running + len(requests)
            and engine.stats().tokens_total > before.tokens_total + 3 * len(requests)
        ),
        f"the first tokens of {len(requests)} requests",
    )
    return tasks


def test_a_swap_in_mid_request_tags_versions_and_drops_nothing(
    open_engine: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            tasks = await start(engine, *(request(max_tokens=800, seed=seed) for seed in range(4)))
            await engine.load(1, tiny_versions[1])
            assert engine.current == 1
            assert engine.versions() == (0, 1)
            assert not any(task.done() for task in tasks), "they ended before the swap"
            after = await engine.generate(request())
            assert set(after.versions) == {1}
            for generation in await asyncio.gather(*tasks):
                assert len(generation.token_ids) == 800
                assert set(generation.versions) == {0, 1}
                assert list(generation.versions) == sorted(generation.versions)
                # Until the swap the tokens are the old version's own.
                old = generation.versions.count(0)
                plain = logprobs_under(endless, generation)
                assert generation.logprobs[:old] == pytest.approx(plain[:old], abs=1e-3)
                assert generation.logprobs[old:] != pytest.approx(plain[old:], abs=1e-3)
            assert engine.stats().swaps_total == 1

    asyncio.run(main())


def test_a_loaded_version_answers_by_its_weights(
    open_engine: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            # Asked before and after, so that remembered prompts of old weights would show.
            await engine.generate(request())
            for version, directory in tiny_versions.items():
                await engine.load(version, directory)
                answer = await engine.generate(request())
                assert answer.logprobs == pytest.approx(logprobs_under(directory, answer), abs=1e-4)

    asyncio.run(main())


def test_pinned_requests_keep_their_version(
    open_engine: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            alone = await engine.generate(request(version=0, max_tokens=300))
            pinned, free = await start(
                engine, request(version=0, max_tokens=300), request(max_tokens=300)
            )
            await engine.load(1, tiny_versions[1])
            later = await engine.generate(request(version=0, max_tokens=8))
            assert set(later.versions) == {0}
            generation = await pinned
            assert set(generation.versions) == {0}
            assert generation.token_ids == alone.token_ids
            assert generation.logprobs == pytest.approx(alone.logprobs, abs=1e-3)
            assert set((await free).versions) == {0, 1}

    asyncio.run(main())


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


def test_many_pinned_versions_in_two_places_are_all_served(
    open_engine: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            for version, directory in tiny_versions.items():
                await engine.load(version, directory)
            pins = [0, 1, 2, 3, None] * 6
            answers = await asyncio.gather(
                *(engine.generate(request(version=pin, seed=i)) for i, pin in enumerate(pins))
            )
            for pin, answer in zip(pins, answers, strict=True):
                assert set(answer.versions) == {3 if pin is None else pin}

    asyncio.run(main())


def test_activate_goes_back_to_an_earlier_version(
    open_engine: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            first = await engine.generate(request())
            await engine.load(1, tiny_versions[1])
            await engine.load(2, tiny_versions[2])
            await engine.activate(0)
            again = await engine.generate(request())
            assert again.token_ids == first.token_ids
            assert set(again.versions) == {0}
            with pytest.raises(UnknownVersion, match="Version 9"):
                await engine.activate(9)

    asyncio.run(main())


def test_a_version_that_was_never_loaded_is_refused(open_engine: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_engine(tiny) as engine:
            with pytest.raises(UnknownVersion, match="Version 7"):
                await engine.generate(request(version=7))

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


def test_a_version_can_be_loaded_again_from_another_directory(
    open_engine: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            await engine.generate(request())
            await engine.load(0, tiny_versions[2])
            answer = await engine.generate(request())
            assert set(answer.versions) == {0}
            assert answer.logprobs == pytest.approx(
                logprobs_under(tiny_versions[2], answer), abs=1e-4
            )

    asyncio.run(main())


def test_a_copied_model_keeps_its_tied_weights(tiny: Path, tiny_versions: dict[int, Path]) -> None:
    model = load_model(tiny, torch.float32, CPU)
    other = model.copy()
    other.put(read_weights(tiny_versions[1]))
    assert other.module.lm_head.weight is other.module.model.embed_tokens.weight
    assert not torch.equal(other.module.lm_head.weight, model.module.lm_head.weight)
