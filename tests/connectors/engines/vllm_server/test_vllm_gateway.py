"""The gateway in front of a real vLLM server."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest

from headrace.connectors.engines.policy import PolicySettings
from headrace.connectors.gateway import GatewayConfig
from headrace.connectors.gateway.app import create_app
from headrace.connectors.gateway.backends.sampled import Sampled
from headrace.connectors.gateway.policy.engines import open_engine
from headrace.connectors.gateway.policy.policies import Policies, Served
from headrace.connectors.gateway.policy.serving import PolicyServing
from headrace.connectors.gateway.state import GatewayState
from headrace.schemas import PolicyRecord, PolicyVersion, Span
from tests.connectors.engines.vllm_server.asking import (
    QUESTIONS,
    only_with_vllm,
)
from tests.support.waiting import wait_until_async

pytestmark = only_with_vllm


def test_the_gateway_answers_by_vllm_whole_and_as_a_stream(
    url: str, model: Path, weights: Path
) -> None:
    config = GatewayConfig(
        policy=PolicySettings(name="calc"), model_directory=model, engine="vllm", engine_url=url
    )

    async def main() -> None:
        async with open_engine(config, model, pytest.fail) as engine:
            serving = PolicyServing(
                "calc", engine, source="the log", serve_base=False, retry_s=config.retry_s
            )
            telemetry = Kept()
            sampled = Sampled(serving, prompts_memory_bytes=config.prompts_memory_bytes)
            policies = Policies([Served(serving=serving, sampler=sampled)])
            state = GatewayState(config, telemetry, policies=policies, forwarded=None)
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
        return await self.aemit_all_durably([span])

    async def aemit_all_durably(self, spans: Sequence[Span]) -> str:
        self.spans += spans
        return "delivered"
