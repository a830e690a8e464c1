"""What every engine does with requests: the contract of engines/base.py.

An engine joins by one line in conftest.py: MODELS, or ENGINES if it has no
model. What is one engine's own is tested beside it.
"""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from headrace.connectors.engines import (
    EngineClosed,
    Generation,
    GenerationRequest,
    InvalidRequest,
    PromptTooLong,
    SamplingParameters,
)
from tests.connectors.engines.asking import (
    QUESTIONS,
    assert_same,
    load,
    plain_logprobs,
    request,
)
from tests.support.waiting import wait_until_async


def test_the_contract_imports_without_torch() -> None:
    code = (
        "import sys, headrace.connectors.engines\n"
        "assert not {'torch', 'transformers', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_k", -1),
        ("max_tokens", 0),
        ("stop", ("",)),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("frequency_penalty", float("nan")),
        ("presence_penalty", float("inf")),
        ("logit_bias", ((1, float("nan")),)),
    ],
)
def test_impossible_sampling_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest, match=field):
        SamplingParameters(**{field: value})  # type: ignore[arg-type]  # wrong on purpose


def test_a_batch_answers_as_each_request_alone(open_any: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
            requests = [
                request(engine, question, seed=i, temperature=0.5 + i / 2, max_tokens=8 + 5 * i)
                for i, question in enumerate(QUESTIONS)
            ]
            alone = [await engine.generate(r) for r in requests]
            together = await asyncio.gather(*map(engine.generate, requests))
            for one, other in zip(alone, together, strict=True):
                assert_same(one, other)

    asyncio.run(main())


def test_joining_in_mid_flight_changes_nothing(open_model: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_model(endless) as engine:
            long = request(engine, QUESTIONS[0], max_tokens=150)
            late = [request(engine, q, seed=7, max_tokens=30) for q in QUESTIONS]
            alone = [await engine.generate(r) for r in (long, *late)]
            before = engine.stats().tokens_total
            running = [asyncio.create_task(engine.generate(long))]
            for n, r in enumerate(late, 1):
                await wait_until_async(
                    lambda n=n: engine.stats().tokens_total > before + 4 * n,  # type: ignore[misc]
                    "the long request to go on",
                )
                running.append(asyncio.create_task(engine.generate(r)))
            assert not running[0].done(), "the long request ended before the others came"
            for one, other in zip(alone, await asyncio.gather(*running), strict=True):
                assert_same(one, other)

    asyncio.run(main())


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_logprobs_are_those_of_a_plain_forward_pass(
    open_model: Any, tiny: Path, temperature: float
) -> None:
    async def main() -> list[Generation]:
        async with open_model(tiny) as engine:
            generations: list[Generation] = await asyncio.gather(
                *(
                    engine.generate(
                        request(engine, q, seed=seed, temperature=temperature, max_tokens=60)
                    )
                    for q in QUESTIONS
                    for seed in range(8)
                )
            )
            return generations

    generations = asyncio.run(main())
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny)
    ended = [g for g in generations if g.finish_reason == "stop"]
    assert ended, "no completion ended by itself: the end token's log-probability goes untested"
    for generation in ended:
        assert generation.token_ids[-1] == tokenizer.eos_token_id
        assert generation.stop_token_included
    for i, generation in enumerate(generations):
        question = QUESTIONS[i // 8]
        plain = plain_logprobs(tiny, question, generation, temperature, torch.float32)
        assert generation.logprobs == pytest.approx(plain, abs=1e-4)


def test_the_comparison_sees_another_temperature_template_or_stop_token(
    open_model: Any, tiny: Path
) -> None:
    async def main() -> Generation:
        async with open_model(tiny) as engine:
            answer: Generation = await engine.generate(
                request(engine, QUESTIONS[0], seed=3, temperature=0.7, max_tokens=20)
            )
            return answer

    generation = asyncio.run(main())
    close = pytest.approx(
        plain_logprobs(tiny, QUESTIONS[0], generation, 0.7, torch.float32), abs=1e-4
    )
    assert generation.logprobs == close
    other_temperature = plain_logprobs(tiny, QUESTIONS[0], generation, 1.0, torch.float32)
    other_prompt = plain_logprobs(tiny, QUESTIONS[0] + "\n", generation, 0.7, torch.float32)
    assert other_temperature != close
    assert other_prompt != close
    assert generation.logprobs[:-1] != close


def test_seeds_repeat_and_differ(open_any: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
            same = [request(engine, QUESTIONS[0], seed=5) for _ in range(3)]
            one, two, three = await asyncio.gather(*map(engine.generate, same))
            assert one.token_ids == two.token_ids == three.token_ids
            other = await engine.generate(request(engine, QUESTIONS[0], seed=6))
            assert other.token_ids != one.token_ids
            fresh = [request(engine, QUESTIONS[0], seed=None) for _ in range(2)]
            a, b = await asyncio.gather(*map(engine.generate, fresh))
            assert a.token_ids != b.token_ids

    asyncio.run(main())


def test_greedy_and_hot_requests_share_a_batch(open_any: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
            greedy = [request(engine, QUESTIONS[1], temperature=0, seed=s) for s in (1, 2)]
            hot = request(engine, QUESTIONS[1], temperature=5.0)
            one, other, third = await asyncio.gather(*map(engine.generate, [*greedy, hot]))
            assert one.token_ids == other.token_ids
            assert third.token_ids != one.token_ids

    asyncio.run(main())


def test_bias_and_penalties_shape_what_is_drawn(open_model: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_model(endless) as engine:
            forced = request(engine, QUESTIONS[0], logit_bias=((70, 100.0),))
            # Whatever was drawn once is as good as never drawn again.
            fresh = request(engine, QUESTIONS[0], presence_penalty=1000.0, max_tokens=100)
            plain = request(engine, QUESTIONS[0], top_logprobs=2)
            alone = await engine.generate(plain)
            biased, once, beside = await asyncio.gather(
                *(engine.generate(one) for one in (forced, fresh, plain))
            )
            assert set(biased.token_ids) == {70}
            assert biased.logprobs == pytest.approx([0] * 12, abs=1e-4)
            assert len(set(once.token_ids)) == 100
            assert_same(beside, alone)
            with pytest.raises(InvalidRequest, match="logit_bias"):
                await engine.generate(request(engine, "Why?", logit_bias=((10**6, 1.0),)))

    asyncio.run(main())


def test_a_stop_string_is_cut_from_the_text_and_its_tokens_are_kept(
    open_any: Any, endless: Path
) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
            whole = await engine.generate(request(engine, QUESTIONS[0], max_tokens=60))
            # No learnt merge holds these: a token ends where the stop string ends.
            found = re.search("[B-VX-Z=]", whole.text[3:])
            assert found, "no letters in the noise: take another seed"
            stop = found.group()
            at = whole.text.index(stop)
            cut, kept = await asyncio.gather(
                *(
                    engine.generate(
                        request(
                            engine,
                            QUESTIONS[0],
                            max_tokens=60,
                            stop=("never seen", stop),
                            include_stop=include,
                        )
                    )
                    for include in (False, True)
                )
            )
            assert cut.text == whole.text[:at]
            assert kept.text == whole.text[: at + len(stop)]
            assert cut.token_ids == kept.token_ids == whole.token_ids[: len(cut.token_ids)]
            assert len(cut.token_ids) < len(whole.token_ids)
            assert cut.stop == stop
            assert cut.stop_token_included
            assert not kept.stop_token_included
            assert cut.finish_reason == "stop"

    asyncio.run(main())


def test_max_tokens_ends_a_completion(open_any: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
            for most in (1, 5):
                answer = await engine.generate(request(engine, QUESTIONS[0], max_tokens=most))
                assert len(answer.token_ids) == len(answer.logprobs) == len(answer.versions) == most
                assert answer.finish_reason == "length"
                assert not answer.stop_token_included

    asyncio.run(main())


def test_more_requests_than_the_batch_holds_wait_their_turn(open_any: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_any(endless, max_batch=3) as engine:
            requests = [request(engine, QUESTIONS[i % 4], seed=i) for i in range(10)]
            together = await asyncio.gather(*map(engine.generate, requests))
            for one, r in zip(together, requests, strict=True):
                assert_same(one, await engine.generate(r))

    asyncio.run(main())


def test_a_cancelled_request_leaves_the_batch(open_model: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_model(endless, max_batch=2) as engine:
            tasks = [
                asyncio.create_task(
                    engine.generate(request(engine, QUESTIONS[0], max_tokens=1500, seed=seed))
                )
                for seed in range(3)
            ]
            await wait_until_async(lambda: load(engine) == (2, 1), "a full batch")
            for task in tasks:
                task.cancel()
            await wait_until_async(lambda: load(engine) == (0, 0), "an empty engine")
            assert engine.stats().tokens_total < 3 * 1500
            answer = await engine.generate(request(engine, QUESTIONS[0]))
            assert len(answer.token_ids) == 12

    asyncio.run(main())


def test_requests_that_cannot_be_served_are_refused(open_any: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_any(tiny, max_sequence=40) as engine:
            sampling = SamplingParameters(max_tokens=10)
            fits = GenerationRequest(prompt_ids=(5,) * 30, sampling=sampling)
            assert len((await engine.generate(fits)).token_ids) <= 10
            with pytest.raises(PromptTooLong, match="31 tokens"):
                await engine.generate(GenerationRequest(prompt_ids=(5,) * 31, sampling=sampling))
            with pytest.raises(InvalidRequest, match="empty"):
                await engine.generate(GenerationRequest(prompt_ids=(), sampling=sampling))
            with pytest.raises(InvalidRequest, match="token ids"):
                await engine.generate(GenerationRequest(prompt_ids=(100_000,), sampling=sampling))
            with pytest.raises(InvalidRequest, match="template"):
                engine.render([{"content": "nobody said this"}])

    asyncio.run(main())


def test_closing_answers_what_still_runs(open_model: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_model(endless) as engine:
            task = asyncio.create_task(
                engine.generate(request(engine, QUESTIONS[0], max_tokens=1900))
            )
            await wait_until_async(lambda: load(engine) == (1, 0), "the request to run")
            await engine.close()
            with pytest.raises(EngineClosed):
                await task
            with pytest.raises(EngineClosed):
                await engine.generate(request(engine, QUESTIONS[0]))

    asyncio.run(main())
