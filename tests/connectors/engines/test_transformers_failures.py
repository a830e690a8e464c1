"""What the built-in engine refuses, and what its failures leave behind."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch

from headrace.connectors.engines import (
    EngineClosed,
    GenerationFailed,
)
from headrace.connectors.engines.transformers.engine import TransformersEngineConfig
from headrace.connectors.engines.transformers.scheduler import Scheduler
from headrace.connectors.engines.transformers.weights import LanguageModel
from tests.connectors.engines.asking import QUESTIONS, request


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


@pytest.mark.parametrize(
    "field", ["max_batch", "max_sequence", "max_versions", "threads", "batch_window_ms"]
)
def test_an_impossible_configuration_names_its_field(field: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {field: -1}
    with pytest.raises(ValueError, match=field):
        TransformersEngineConfig(model_directory=tmp_path, **settings)
