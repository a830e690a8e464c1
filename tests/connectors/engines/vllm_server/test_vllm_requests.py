"""What a real vLLM server samples as the engine."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headrace.connectors.engines import (
    Constraint,
    Generation,
    GenerationRequest,
    Increment,
    InvalidRequest,
    SamplingParameters,
    UnknownVersion,
)
from tests.connectors.engines.trainer_gap import gap
from tests.connectors.engines.vllm_server.asking import (
    LONG,
    QUESTIONS,
    asking,
    assert_is_whole,
    only_with_vllm,
    opened,
    running,
)
from tests.support.waiting import wait_until_async

pytestmark = only_with_vllm


def test_tokens_come_with_text_logprobs_and_versions_as_they_are_sampled(
    url: str, model: Path
) -> None:
    async def main() -> None:
        async with opened(url, model) as engine:
            told: list[Increment] = []
            request = asking(engine, QUESTIONS[0], temperature=0.7, top_logprobs=3)
            generation = await engine.generate(request, told.append)
            assert len(told) > 1
            assert_is_whole(told, generation)
            assert generation.versions == (0,) * len(generation.token_ids)
            shown = b"".join(
                piece
                for token, piece in zip(
                    generation.token_ids, engine.token_bytes(generation.token_ids), strict=True
                )
                if token not in engine.end_ids
            )
            assert shown.decode(errors="replace") == generation.text
            for sampled, logprob, top in zip(
                generation.token_ids, generation.logprobs, generation.top_logprobs, strict=True
            ):
                assert len(top) == 3
                assert list(top) == sorted(top, key=lambda pair: -pair[1])
                assert dict(top).get(sampled, logprob) == logprob
            again = await engine.generate(request)
            assert again.token_ids == generation.token_ids, "equal seeds, alone: equal tokens"

    asyncio.run(main())


def test_end_tokens_stop_strings_and_the_length_end_a_completion(url: str, model: Path) -> None:
    async def main() -> None:
        async with opened(url, model) as engine:
            greedy: dict[str, Any] = {"temperature": 0.0, "max_tokens": 60}
            whole = await engine.generate(asking(engine, QUESTIONS[0], **greedy))
            assert whole.finish_reason == "stop"
            assert whole.token_ids[-1] in engine.end_ids
            assert whole.stop_token_included
            assert "Paris" in whole.text
            cut, kept = [
                await engine.generate(
                    asking(engine, QUESTIONS[0], stop=("Par",), include_stop=include, **greedy)
                )
                for include in (False, True)
            ]
            assert cut.text + "Par" == kept.text == whole.text[: len(kept.text)]
            assert (cut.stop, cut.finish_reason) == ("Par", "stop")
            assert cut.stop_token_included
            assert cut.token_ids == whole.token_ids[: len(cut.token_ids)]
            short = await engine.generate(asking(engine, LONG, max_tokens=5))
            assert (len(short.token_ids), short.finish_reason) == (5, "length")
            assert not short.stop_token_included

    asyncio.run(main())


def test_a_constraint_is_kept(url: str, model: Path) -> None:
    async def main() -> None:
        async with opened(url, model) as engine:
            for constraint, expected in (
                (Constraint(kind="regex", source="(red|blue), (red|blue)"), "red|blue"),
                (Constraint(kind="lark", source='start: "river" | "stream"'), "river|stream"),
                (
                    Constraint(kind="json_schema", source='{"type": "integer", "minimum": 0}'),
                    "0123456789",
                ),
            ):
                made = await engine.generate(asking(engine, QUESTIONS[1], constraint=constraint))
                assert made.text
                assert made.text[0] in expected
            bad = Constraint(kind="json_schema", source="{")
            with pytest.raises(InvalidRequest, match="refuses"):
                await engine.generate(asking(engine, QUESTIONS[1], constraint=bad))

    asyncio.run(main())


def test_a_bias_and_penalties_change_what_is_drawn(url: str, model: Path) -> None:
    async def main() -> None:
        async with opened(url, model) as engine:
            (favourite,) = engine.encode(" river")
            fields: dict[str, Any] = {"max_tokens": 6, "logit_bias": ((favourite, 100.0),)}
            drawn = await engine.generate(asking(engine, QUESTIONS[0], **fields))
            assert set(drawn.token_ids) == {favourite}
            assert drawn.logprobs == pytest.approx([0.0] * 6, abs=1e-3)
            other = await engine.generate(
                asking(engine, QUESTIONS[0], min_p=1.0, presence_penalty=2.0, max_tokens=6)
            )
            assert other.logprobs == pytest.approx([0.0] * 6, abs=1e-3)

    asyncio.run(main())


def test_what_cannot_be_served_is_refused(url: str, model: Path) -> None:
    async def main() -> None:
        async with opened(url, model) as engine:
            long = GenerationRequest(
                prompt_ids=(5,) * 2040, sampling=SamplingParameters(max_tokens=10)
            )
            with pytest.raises(InvalidRequest, match="2048"):
                await engine.generate(long)
            with pytest.raises(InvalidRequest, match="another model"):
                await engine.generate(
                    GenerationRequest(prompt_ids=(49152,), sampling=SamplingParameters())
                )
            with pytest.raises(UnknownVersion, match="never loaded"):
                await engine.generate(asking(engine, LONG, version=7))

    asyncio.run(main())


def test_a_cancelled_request_leaves_the_server(url: str, model: Path) -> None:
    async def main() -> None:
        async with opened(url, model) as engine, httpx2.AsyncClient() as client:
            task = asyncio.create_task(engine.generate(asking(engine, LONG, max_tokens=1500)))
            await wait_until_async(lambda: engine.stats().tokens_total > 4, "the first tokens")
            assert await running(client, url) == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for _ in range(100):
                if await running(client, url) == 0:
                    break
                await asyncio.sleep(0.1)
            assert await running(client, url) == 0
            assert engine.stats().running == 0

    asyncio.run(main())


def test_logprobs_are_those_of_the_trainer(url: str, model: Path) -> None:
    async def main() -> list[tuple[GenerationRequest, Generation]]:
        async with opened(url, model) as engine:
            requests = [
                asking(engine, text, seed=seed, temperature=0.8, max_tokens=48)
                for text in (*QUESTIONS, LONG)
                for seed in range(4)
            ]
            made = await asyncio.gather(*map(engine.generate, requests))
            return list(zip(requests, made, strict=True))

    sampled = asyncio.run(main())
    gaps = gap(model, model, sampled, temperature=0.8)
    print(f"mean |delta log p| {gaps.mean():.4f}, largest {gaps.max():.4f}, {len(gaps)} tokens")
    assert gaps.mean() < 0.05
    assert gap(model, model, sampled, temperature=1.0).mean() > 0.05, "the comparison sees nothing"
