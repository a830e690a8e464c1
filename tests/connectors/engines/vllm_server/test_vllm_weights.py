"""Weights of a real vLLM server change while it works."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from headrace.connectors.engines import (
    InvalidWeights,
    UnknownVersion,
)
from tests.connectors.engines.trainer_gap import gap
from tests.connectors.engines.vllm_server.asking import (
    LONG,
    QUESTIONS,
    asking,
    only_with_vllm,
    opened,
    until,
)
from tests.support.waiting import wait_until_async

pytestmark = only_with_vllm


def test_weights_change_in_mid_request_and_no_request_is_dropped(
    url: str, model: Path, weights: Path
) -> None:
    async def main() -> None:
        async with opened(url, model) as engine:
            await engine.load(3, weights / "3")
            many = [
                asyncio.create_task(
                    engine.generate(asking(engine, LONG, seed=n, max_tokens=120, temperature=1.2))
                )
                for n in range(16)
            ]
            await wait_until_async(lambda: engine.stats().tokens_total > 16 * 8, "the first tokens")
            await engine.load(4, weights / "4")
            made = await asyncio.gather(*many)
            assert engine.current == 4
            mixed = [one for one in made if set(one.versions) == {3, 4}]
            assert len(mixed) > 8, "they ended before the change"
            for one in made:
                assert one.finish_reason in ("stop", "length")
                assert list(one.versions) == sorted(one.versions)
            after = await engine.generate(asking(engine, QUESTIONS[0]))
            assert set(after.versions) == {4}
            with pytest.raises(UnknownVersion, match="no longer held"):
                await engine.generate(asking(engine, LONG, version=3))
            # Tokens of a new prompt are the new weights' own, and those before the change the old.
            assert gap(weights / "4", model, [(asking(engine, QUESTIONS[0]), after)]).mean() < 0.05
            first = [(asking(engine, LONG), until(one, 3)) for one in mixed]
            assert gap(weights / "3", model, first, temperature=1.2).mean() < 0.05
            assert gap(weights / "4", model, first, temperature=1.2).mean() > 0.1

    asyncio.run(main())


def test_a_pinned_request_sees_no_change(url: str, model: Path, weights: Path) -> None:
    async def main() -> None:
        async with opened(url, model) as engine:
            await engine.load(3, weights / "3")
            pinned = asyncio.create_task(
                engine.generate(asking(engine, LONG, version=3, max_tokens=40, temperature=1.2))
            )
            await wait_until_async(lambda: engine.stats().running == 1, "the request to run")
            await engine.load(4, weights / "4")
            assert pinned.done()
            assert set(pinned.result().versions) == {3}

    asyncio.run(main())


def test_weights_that_cannot_be_taken_change_nothing(
    url: str, model: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def main() -> None:
        async with opened(url, model) as engine:
            request = asking(engine, QUESTIONS[0], temperature=0.0)
            before = await engine.generate(request)
            for bad in ("adapter", "cut", "nothing"):
                with pytest.raises(InvalidWeights, match=bad):
                    await engine.load(9, weights / bad)
            assert (engine.current, engine.versions()) == (0, (0,))
            after = await engine.generate(request)
            assert after.token_ids == before.token_ids
            assert after.logprobs == pytest.approx(before.logprobs, abs=1e-5)
            assert set(after.versions) == {0}

    asyncio.run(main())


def test_the_server_takes_no_weights_from_outside_its_root(url: str, weights: Path) -> None:
    outside = weights.parent.parent.parent / "outside-the-root"
    link = weights / "link"
    outside.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    for path in (outside, link, weights / ".." / ".." / ".." / outside.name):
        assert httpx2.post(f"{url}/start_weight_update").status_code == 200
        answer = httpx2.post(
            f"{url}/update_weights", json={"update_info": {"path": str(path)}}, timeout=60
        )
        assert answer.status_code == 500
        assert "outside" in answer.text
