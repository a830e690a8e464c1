"""Requests to a real vLLM server, which `make vllm` sets up."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headrace.connectors.engines import (
    Generation,
    GenerationRequest,
    Increment,
    SamplingParameters,
)
from headrace.connectors.engines.vllm.engine import VllmEngine, VllmEngineConfig

INTERPRETER, RUNNING = os.environ.get("HEADRACE_VLLM", ""), os.environ.get("HEADRACE_VLLM_URL", "")
only_with_vllm = [
    pytest.mark.integration,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not INTERPRETER and not RUNNING, reason="no vLLM here: run `make vllm`"),
]
LONG = "Write a long story about a river and the people who live beside it."
QUESTIONS = ("What is the capital of France?", "Name three colours.", "What is 12 plus 7?")


@asynccontextmanager
async def opened(url: str, model: Path, **config: Any) -> AsyncIterator[VllmEngine]:
    engine = await VllmEngine.connect(VllmEngineConfig(url=url, model_directory=model, **config))
    try:
        yield engine
    finally:
        await engine.close()


def asking(engine: VllmEngine, text: str, version: int | None = None, **fields: Any) -> Any:
    own = {name: fields.pop(name) for name in ("top_logprobs", "constraint") if name in fields}
    return GenerationRequest(
        prompt_ids=engine.encode(engine.render([{"role": "user", "content": text}])),
        sampling=SamplingParameters(**{"max_tokens": 24, "seed": 1, **fields}),
        version=version,
        **own,
    )


def assert_is_whole(increments: list[Increment], generation: Generation) -> None:
    parts = [(i.token_ids, i.logprobs, i.top_logprobs) for i in increments]
    ids, logprobs, tops = (tuple(x for part in parts for x in part[n]) for n in range(3))
    assert (ids, logprobs, tops) == (
        generation.token_ids,
        generation.logprobs,
        generation.top_logprobs,
    )
    assert "".join(i.text for i in increments) == generation.text


async def running(client: httpx2.AsyncClient, url: str) -> float:
    text = (await client.get(f"{url}/metrics")).text
    lines = [x for x in text.splitlines() if x.startswith("vllm:num_requests_running{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def until(generation: Generation, version: int) -> Generation:
    size = generation.versions.count(version)
    return Generation(
        token_ids=generation.token_ids[:size],
        logprobs=generation.logprobs[:size],
        versions=generation.versions[:size],
        text="",
        finish_reason="length",
        stop=None,
        stop_token_included=False,
    )
