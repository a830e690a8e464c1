"""A real vLLM server as the engine: started as the gateway starts it, on the CPU (`make vllm`)."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from safetensors.torch import load_file, save_file

from headrace.connectors.engines import (
    Constraint,
    Generation,
    GenerationRequest,
    Increment,
    InvalidRequest,
    InvalidWeights,
    SamplingParameters,
    UnknownVersion,
)
from headrace.connectors.engines.policy import PolicySettings
from headrace.connectors.engines.vllm.child import ChildConfig, running_server
from headrace.connectors.engines.vllm.engine import VllmEngine, VllmEngineConfig
from headrace.connectors.gateway import GatewayConfig
from headrace.connectors.gateway.app import create_app
from headrace.connectors.gateway.backends.sampled import Sampled
from headrace.connectors.gateway.policy.engines import open_engine
from headrace.connectors.gateway.policy.serving import PolicyServing
from headrace.connectors.gateway.state import GatewayState
from headrace.infra.embedded.artifacts import cache_dir
from headrace.infra.embedded.models import bundled_model
from headrace.schemas import PolicyRecord, PolicyVersion, Span
from tests.connectors.engines.trainer_gap import gap
from tests.support.waiting import wait_until_async

INTERPRETER, RUNNING = os.environ.get("HEADRACE_VLLM", ""), os.environ.get("HEADRACE_VLLM_URL", "")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not INTERPRETER and not RUNNING, reason="no vLLM here: run `make vllm`"),
]
LONG = "Write a long story about a river and the people who live beside it."
QUESTIONS = ("What is the capital of France?", "Name three colours.", "What is 12 plus 7?")


@pytest.fixture(scope="module")
def model() -> Path:
    return bundled_model(cache_dir())


@pytest.fixture(scope="module")
def weights(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `3` and `4` with other weights of the model, and folders that are none."""
    root = tmp_path_factory.mktemp("weights")
    base = load_file(model / "model.safetensors")
    for version in (3, 4):
        torch.manual_seed(version)
        other = {
            name: (tensor.float() * (1 + 0.03 * torch.randn(tensor.shape))).to(tensor.dtype)
            for name, tensor in base.items()
        }
        (root / str(version)).mkdir()
        save_file(other, root / str(version) / "model.safetensors")
    (root / "adapter").mkdir()
    save_file(dict(list(base.items())[:5]), root / "adapter" / "model.safetensors")
    (root / "cut").mkdir()
    whole = (root / "3" / "model.safetensors").read_bytes()
    (root / "cut" / "model.safetensors").write_bytes(whole[:-100])
    return root


@pytest.fixture(scope="module")
def url(model: Path, weights: Path) -> Iterator[str]:
    if RUNNING:
        yield RUNNING
        return
    config = ChildConfig(
        command=f"{INTERPRETER} -- --enforce-eager",
        model=model,
        roots=(weights,),
        dtype="bfloat16",
        max_batch=48,
    )
    ended: list[int] = []
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        yield runner.run(stack.enter_async_context(running_server(config, ended.append)))
        assert not ended, f"the server ended with {ended}"
        runner.run(stack.aclose())


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


def test_the_gateway_answers_by_vllm_whole_and_as_a_stream(
    url: str, model: Path, weights: Path
) -> None:
    config = GatewayConfig(
        policy=PolicySettings(name="calc"), model_directory=model, engine="vllm", engine_url=url
    )

    async def main() -> None:
        async with open_engine(config, pytest.fail) as engine:
            serving = PolicyServing(
                "calc", engine, source="the log", serve_base=False, retry_s=config.retry_s
            )
            telemetry = Kept()
            sampled = Sampled(serving, prompts_memory_bytes=config.prompts_memory_bytes)
            state = GatewayState(
                config, telemetry, serving=serving, sampled=sampled, forwarded=None
            )
            following = asyncio.create_task(serving.run())
            version = PolicyVersion(policy="calc", version=3, uri=str(weights / "3"))
            serving.start([PolicyRecord(version=version)])
            await wait_until_async(lambda: serving.served == 3, "version 3")
            transport = httpx2.ASGITransport(app=create_app(state))
            async with httpx2.AsyncClient(
                transport=transport, base_url="http://localhost", timeout=300
            ) as client:
                body = {
                    "model": "calc",
                    "messages": [{"role": "user", "content": QUESTIONS[0]}],
                    "max_tokens": 8,
                    "seed": 1,
                }
                whole = (await client.post("/v1/chat/completions", json=body)).json()
                stream = await client.post("/v1/chat/completions", json={**body, "stream": True})
            said = whole["choices"][0]["message"]["content"]
            assert said
            assert whole["system_fingerprint"] == "calc@3"
            chunks = [
                json.loads(line.removeprefix("data: "))
                for line in stream.text.splitlines()
                if line.startswith("data: {")
            ]
            pieces = [
                choice["delta"].get("content") or ""
                for chunk in chunks
                for choice in chunk["choices"]
            ]
            assert "".join(pieces) == said
            assert sum(bool(piece) for piece in pieces) > 1
            calls = [span.call for span in telemetry.spans if span.call is not None]
            assert [call.runs for call in calls] == [((3, 8),)] * 2
            assert all(len(call.sampled_ids) == len(call.logprobs) == 8 for call in calls)
            assert all(call.trainable for call in calls)
            following.cancel()

    asyncio.run(main())


class Kept:
    """Telemetry that keeps its spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    async def aemit_durably(self, span: Span) -> str:
        self.spans.append(span)
        return "delivered"


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
