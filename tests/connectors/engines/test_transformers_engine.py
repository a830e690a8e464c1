"""The built-in engine: what a request gets does not depend on its company."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from headrace.connectors.engines import (
    EngineClosed,
    Generation,
    GenerationFailed,
    GenerationRequest,
    InvalidRequest,
    PromptTooLong,
    SamplingParameters,
)
from headrace.connectors.engines.transformers.engine import (
    TransformersEngine,
    TransformersEngineConfig,
)
from headrace.connectors.engines.transformers.sampling import sample, uniform
from headrace.connectors.engines.transformers.scheduler import Scheduler
from headrace.connectors.engines.transformers.weights import LanguageModel

SYSTEM = "Answer with one calculator call, and nothing else at all."


def conversation(question: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


def request(
    engine: TransformersEngine, question: str, version: int | None = None, **sampling: Any
) -> GenerationRequest:
    return GenerationRequest(
        prompt_ids=engine.render(conversation(question)),
        sampling=SamplingParameters(**{"max_tokens": 12, "seed": 1, **sampling}),
        version=version,
    )


def assert_same(one: Generation, other: Generation) -> None:
    assert one.token_ids == other.token_ids
    assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert (one.text, one.finish_reason) == (other.text, other.finish_reason)


def plain_logprobs(
    directory: Path, question: str, generation: Generation, temperature: float, dtype: torch.dtype
) -> list[float]:
    """What a trainer computes: one forward pass over prompt and completion, no engine code."""
    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    prompt = tokenizer.apply_chat_template(
        conversation(question), add_generation_prompt=True, return_dict=False
    )
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype)
    ids = torch.tensor([[*prompt, *generation.token_ids]])
    with torch.no_grad():
        logits = model(ids).logits[0, len(prompt) - 1 : -1].float()
    logprobs = (logits / temperature).log_softmax(-1)
    chosen: list[float] = logprobs.gather(1, ids[0, len(prompt) :].unsqueeze(1))[:, 0].tolist()
    return chosen


QUESTIONS = [f"What is {a} {op} {b}?" for a, op, b in
             [(1, "plus", 2), (33, "times", 4), (5, "minus", 678), (9, "times", 99)]]  # fmt: skip


def test_a_batch_answers_as_each_request_alone(open_engine: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_engine(endless, shared_prompt_tokens=0) as engine:
            requests = [
                request(engine, question, seed=i, temperature=0.5 + i / 2, max_tokens=8 + 5 * i)
                for i, question in enumerate(QUESTIONS)
            ]
            alone = [await engine.generate(r) for r in requests]
            together = await asyncio.gather(*map(engine.generate, requests))
            for one, other in zip(alone, together, strict=True):
                assert_same(one, other)

    asyncio.run(main())


def test_joining_in_mid_flight_changes_nothing(
    open_engine: Any, endless: Path, until: Callable[..., Any]
) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            long = request(engine, QUESTIONS[0], max_tokens=150)
            late = [request(engine, q, seed=7, max_tokens=30) for q in QUESTIONS]
            alone = [await engine.generate(r) for r in (long, *late)]
            before = engine.stats().tokens_total
            running = [asyncio.create_task(engine.generate(long))]
            for n, r in enumerate(late, 1):
                await until(lambda n=n: engine.stats().tokens_total > before + 4 * n)
                running.append(asyncio.create_task(engine.generate(r)))
            assert not running[0].done(), "the long request ended before the others came"
            for one, other in zip(alone, await asyncio.gather(*running), strict=True):
                assert_same(one, other)

    asyncio.run(main())


def test_sharing_prompt_beginnings_changes_nothing(open_engine: Any, endless: Path) -> None:
    async def answers(shared: int) -> tuple[list[Generation], int]:
        async with open_engine(endless, shared_prompt_tokens=shared) as engine:
            requests = [request(engine, QUESTIONS[i % 3], seed=i) for i in range(9)]
            first = await asyncio.gather(*map(engine.generate, requests))
            later = await engine.generate(request(engine, QUESTIONS[3]))
            again = await engine.generate(request(engine, QUESTIONS[0]))
            return [*first, later, again], engine.stats().shared_prompt_tokens_total

    with_sharing, shared_tokens = asyncio.run(answers(8192))
    without, none = asyncio.run(answers(0))
    assert none == 0
    assert shared_tokens > 8 * len(SYSTEM) // 2
    for one, other in zip(with_sharing, without, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_logprobs_are_those_of_a_plain_forward_pass(
    open_engine: Any, tiny: Path, temperature: float
) -> None:
    async def main() -> list[Generation]:
        async with open_engine(tiny) as engine:
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
    open_engine: Any, tiny: Path
) -> None:
    async def main() -> Generation:
        async with open_engine(tiny) as engine:
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


def test_bfloat16_logprobs_stay_near_a_plain_forward_pass(open_engine: Any, tiny: Path) -> None:
    async def main() -> list[Generation]:
        async with open_engine(tiny, dtype="bfloat16") as engine:
            generations: list[Generation] = await asyncio.gather(
                *(engine.generate(request(engine, q, seed=i)) for i, q in enumerate(QUESTIONS * 4))
            )
            return generations

    differences = []
    for i, generation in enumerate(asyncio.run(main())):
        plain = plain_logprobs(tiny, QUESTIONS[i % 4], generation, 1.0, torch.bfloat16)
        differences += [abs(a - b) for a, b in zip(generation.logprobs, plain, strict=True)]
    assert sum(differences) / len(differences) < 0.01
    assert max(differences) < 0.1


def test_seeds_repeat_and_differ(open_engine: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            same = [request(engine, QUESTIONS[0], seed=5) for _ in range(3)]
            one, two, three = await asyncio.gather(*map(engine.generate, same))
            assert one.token_ids == two.token_ids == three.token_ids
            other = await engine.generate(request(engine, QUESTIONS[0], seed=6))
            assert other.token_ids != one.token_ids
            fresh = [request(engine, QUESTIONS[0], seed=None) for _ in range(2)]
            a, b = await asyncio.gather(*map(engine.generate, fresh))
            assert a.token_ids != b.token_ids

    asyncio.run(main())


def test_greedy_and_hot_requests_share_a_batch(open_engine: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            greedy = [request(engine, QUESTIONS[1], temperature=0, seed=s) for s in (1, 2)]
            hot = request(engine, QUESTIONS[1], temperature=5.0)
            one, other, third = await asyncio.gather(*map(engine.generate, [*greedy, hot]))
            assert one.token_ids == other.token_ids
            assert third.token_ids != one.token_ids

    asyncio.run(main())


def test_a_stop_string_is_cut_from_the_text_and_its_tokens_are_kept(
    open_engine: Any, endless: Path
) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
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


def test_max_tokens_ends_a_completion(open_engine: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            for most in (1, 5):
                answer = await engine.generate(request(engine, QUESTIONS[0], max_tokens=most))
                assert len(answer.token_ids) == len(answer.logprobs) == len(answer.versions) == most
                assert answer.finish_reason == "length"
                assert not answer.stop_token_included

    asyncio.run(main())


def test_an_empty_completion_is_legal(open_engine: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_engine(tiny) as engine:
            ids = engine.render(conversation(QUESTIONS[0]))
            tokenizer: Any = AutoTokenizer.from_pretrained(tiny)
            end = tokenizer.eos_token_id
            model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[:, -1]
            plain = SamplingParameters()
            seed = next(
                seed
                for seed in range(100_000)
                if sample(logits, [plain], [uniform(seed, 0)])[0] == [end]
            )
            answer = await engine.generate(request(engine, QUESTIONS[0], seed=seed))
            assert answer.token_ids == (end,)
            assert answer.text == ""
            assert answer.finish_reason == "stop"
            assert answer.stop_token_included

    asyncio.run(main())


def test_more_requests_than_the_batch_holds_wait_their_turn(
    open_engine: Any, endless: Path
) -> None:
    async def main() -> None:
        async with open_engine(endless, max_batch=3) as engine:
            requests = [request(engine, QUESTIONS[i % 4], seed=i) for i in range(10)]
            together = await asyncio.gather(*map(engine.generate, requests))
            for one, r in zip(together, requests, strict=True):
                assert_same(one, await engine.generate(r))

    asyncio.run(main())


def test_a_cancelled_request_leaves_the_batch(
    open_engine: Any, endless: Path, until: Callable[..., Any]
) -> None:
    async def main() -> None:
        async with open_engine(endless, max_batch=2) as engine:
            tasks = [
                asyncio.create_task(
                    engine.generate(request(engine, QUESTIONS[0], max_tokens=1500, seed=seed))
                )
                for seed in range(3)
            ]
            await until(lambda: engine.stats().running == 2 and engine.stats().waiting == 1)
            for task in tasks:
                task.cancel()
            await until(lambda: engine.stats().running == 0 and engine.stats().waiting == 0)
            assert engine.stats().tokens_total < 3 * 1500
            answer = await engine.generate(request(engine, QUESTIONS[0]))
            assert len(answer.token_ids) == 12

    asyncio.run(main())


def test_requests_that_cannot_be_served_are_refused(open_engine: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_engine(tiny, max_sequence=40) as engine:
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


def test_a_model_failure_fails_its_requests_and_no_later_one(
    open_engine: Any, endless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = LanguageModel.forward
    calls = 0

    def failing(self: LanguageModel, *args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls in (1, 4):  # the first prefill, then a decode step of the next request
            raise RuntimeError("out of luck")
        return forward(self, *args)

    monkeypatch.setattr(LanguageModel, "forward", failing)

    async def main() -> None:
        async with open_engine(endless) as engine:
            for _ in range(2):
                with pytest.raises(GenerationFailed, match="out of luck"):
                    await engine.generate(request(engine, QUESTIONS[0]))
            answer = await engine.generate(request(engine, QUESTIONS[0]))
            assert len(answer.token_ids) == 12
            assert engine.stats().failures_total == 2
            assert engine.stats().running == 0

    asyncio.run(main())


def test_a_failure_of_the_loop_itself_leaves_nobody_waiting(
    open_engine: Any, endless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Scheduler) -> bool:
        raise RuntimeError("a bug")

    async def main() -> None:
        async with open_engine(endless) as engine:
            monkeypatch.setattr(Scheduler, "_turn", failing)
            for _ in range(2):
                with pytest.raises(EngineClosed, match="a bug"):
                    await engine.generate(request(engine, QUESTIONS[0]))
            with pytest.raises(EngineClosed):
                await engine.load(1, endless)

    asyncio.run(main())


def test_closing_answers_what_still_runs(
    open_engine: Any, endless: Path, until: Callable[..., Any]
) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            task = asyncio.create_task(
                engine.generate(request(engine, QUESTIONS[0], max_tokens=1900))
            )
            await until(lambda: engine.stats().running == 1)
            await engine.close()
            with pytest.raises(EngineClosed):
                await task
            with pytest.raises(EngineClosed):
                await engine.generate(request(engine, QUESTIONS[0]))

    asyncio.run(main())


@pytest.mark.parametrize(
    "field", ["max_batch", "max_sequence", "max_versions", "threads", "batch_window_ms"]
)
def test_an_impossible_configuration_names_its_field(field: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {field: -1}
    with pytest.raises(ValueError, match=field):
        TransformersEngineConfig(model_directory=tmp_path, **settings)
