"""What every engine does with versions: weights change between decode steps, nothing is dropped,
and every token names its version."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors.engines import InvalidWeights, UnknownVersion
from tests.connectors.engines.asking import logprobs_under, start
from tests.connectors.engines.asking import prompt_request as request


def test_a_swap_in_mid_request_tags_versions_and_drops_nothing(
    open_model: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_model(endless) as engine:
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
    open_model: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_model(endless) as engine:
            # Asked before and after, so that remembered prompts of old weights would show.
            await engine.generate(request())
            for version, directory in tiny_versions.items():
                await engine.load(version, directory)
                answer = await engine.generate(request())
                assert answer.logprobs == pytest.approx(logprobs_under(directory, answer), abs=1e-4)

    asyncio.run(main())


def test_pinned_requests_keep_their_version(
    open_model: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_model(endless) as engine:
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


def test_many_pinned_versions_in_two_places_are_all_served(
    open_any: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
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
    open_any: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
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


def test_a_version_that_is_only_to_be_pinned_never_becomes_the_current_one(
    open_any: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
            if engine.max_versions == 1:
                with pytest.raises(UnknownVersion):
                    await engine.load(1, tiny_versions[1], activate=False)
                return
            running = asyncio.create_task(engine.generate(request()))
            await engine.load(1, tiny_versions[1], activate=False)
            assert engine.current == 0
            assert engine.stats().swaps_total == 0
            assert set((await engine.generate(request(version=1))).versions) == {1}
            assert set((await running).versions) == {0}
            assert set((await engine.generate(request())).versions) == {0}

    asyncio.run(main())


def test_a_version_that_was_never_loaded_is_refused(open_any: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_any(tiny) as engine:
            with pytest.raises(UnknownVersion, match="Version 7"):
                await engine.generate(request(version=7))

    asyncio.run(main())


def test_a_version_can_be_loaded_again_from_another_directory(
    open_model: Any, endless: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        async with open_model(endless) as engine:
            await engine.generate(request())
            await engine.load(0, tiny_versions[2])
            answer = await engine.generate(request())
            assert set(answer.versions) == {0}
            assert answer.logprobs == pytest.approx(
                logprobs_under(tiny_versions[2], answer), abs=1e-4
            )

    asyncio.run(main())


def test_weights_that_cannot_be_read_change_nothing(
    open_model: Any, endless: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not a tensor in sight")

    async def main() -> None:
        async with open_model(endless) as engine:
            before = await engine.generate(request())
            for directory in (tmp_path, tmp_path / "nowhere"):
                with pytest.raises(InvalidWeights):
                    await engine.load(1, directory)
            assert (engine.current, engine.versions()) == (0, (0,))
            assert (await engine.generate(request())).token_ids == before.token_ids

    asyncio.run(main())
