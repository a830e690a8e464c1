"""What the built-in engine refuses, and what its failures leave behind."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch

from headrace.connectors.engines import (
    EngineClosed,
    GenerationFailed,
    GenerationRequest,
    InvalidRequest,
    PromptTooLong,
    SamplingParameters,
)
from headrace.connectors.engines.transformers.engine import TransformersEngineConfig
from headrace.connectors.engines.transformers.scheduler import Scheduler
from headrace.connectors.engines.transformers.weights import LanguageModel
from tests.connectors.engines.asking import QUESTIONS, load, request
from tests.support.waiting import wait_until_async


def test_a_cancelled_request_leaves_the_batch(open_engine: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_engine(endless, max_batch=2) as engine:
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


def test_closing_answers_what_still_runs(open_engine: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
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


@pytest.mark.parametrize(
    "field", ["max_batch", "max_sequence", "max_versions", "threads", "batch_window_ms"]
)
def test_an_impossible_configuration_names_its_field(field: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {field: -1}
    with pytest.raises(ValueError, match=field):
        TransformersEngineConfig(model_directory=tmp_path, **settings)
