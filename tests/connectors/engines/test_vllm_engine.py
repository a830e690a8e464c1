"""The vLLM engine against a server that speaks as the recorded one, without vLLM."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors.engines import (
    Constraint,
    EngineClosed,
    EngineUnavailable,
    GenerationFailed,
    GenerationRequest,
    Increment,
    InvalidRequest,
    InvalidWeights,
    PromptTooLong,
    SamplingParameters,
    UnknownVersion,
)
from headrace.connectors.engines.vllm.engine import VllmEngine, VllmEngineConfig
from tests.connectors.engines.scripted_vllm import ScriptedVllm, serving
from tests.support.waiting import wait_until_async

SWAP = [
    "pause",
    "start_weight_update",
    "update_weights",
    "finish_weight_update",
    "reset_prefix_cache",
    "resume",
]


@asynccontextmanager
async def opened(script: ScriptedVllm, model: Path, **config: Any) -> AsyncIterator[VllmEngine]:
    with serving(script) as url:
        engine = await VllmEngine.connect(
            VllmEngineConfig(url=url, model_directory=model, **config)
        )
        script.commands.clear()
        try:
            yield engine
        finally:
            await engine.close()


def request(version: int | None = None, **sampling: Any) -> GenerationRequest:
    return GenerationRequest(
        prompt_ids=(10, 11, 12),
        sampling=SamplingParameters(**{"max_tokens": 8, **sampling}),
        version=version,
    )


def test_a_completion_is_told_as_it_grows_and_returned_whole(tiny: Path) -> None:
    async def main() -> None:
        script = ScriptedVllm(tokens=[72, 105, 33], reason="length")
        async with opened(script, tiny) as engine:
            told: list[Increment] = []
            made = await engine.generate(request(max_tokens=3), told.append)
            assert made.token_ids == (72, 105, 33)
            assert made.logprobs == (-0.25,) * 3
            assert made.versions == (0, 0, 0)
            assert [i.token_ids for i in told] == [(72,), (105,), (33,)]
            assert "".join(i.text for i in told) == made.text
            assert made.text == b"".join(engine.token_bytes(made.token_ids)).decode(
                errors="replace"
            )
            stats = engine.stats()
            assert (stats.tokens_total, stats.prompt_tokens_total) == (3, 3)
            assert stats.shared_prompt_tokens_total == 2

    asyncio.run(main())


def test_a_request_is_put_in_vllms_words(tiny: Path) -> None:
    async def main() -> None:
        script = ScriptedVllm()
        async with opened(script, tiny) as engine:
            asked = GenerationRequest(
                prompt_ids=(10, 11),
                sampling=SamplingParameters(
                    temperature=0.7,
                    top_p=0.9,
                    top_k=5,
                    min_p=0.1,
                    frequency_penalty=0.5,
                    logit_bias=((7, -3.0),),
                    seed=-1,
                    max_tokens=2,
                    stop=("zz",),
                    include_stop=True,
                ),
                top_logprobs=1,
                constraint=Constraint(kind="lark", source="start: /a/"),
            )
            made = await engine.generate(asked)
            assert made.top_logprobs == (((72, -0.25),), ((105, -0.25),))
            (body,) = script.asked
            assert body["token_ids"] == [10, 11]
            assert body["sampling_params"] == {
                "temperature": 0.7,
                "top_p": 0.9,
                "top_k": 5,
                "min_p": 0.1,
                "frequency_penalty": 0.5,
                "presence_penalty": 0.0,
                "logit_bias": {"7": -3.0},
                "seed": 2**63 - 1,  # vLLM takes -1 for none
                "max_tokens": 2,
                "stop": ["zz"],
                "include_stop_str_in_output": True,
                "stop_token_ids": sorted(engine.end_ids),
                "logprobs": 2,
                "structured_outputs": {"grammar": "start: /a/"},
            }

    asyncio.run(main())


def test_a_start_names_the_weights_and_others_than_the_models_are_replaced(tiny: Path) -> None:
    async def main() -> None:
        fresh, used = ScriptedVllm(), ScriptedVllm(label="7")
        for script in (fresh, used):
            with serving(script) as url:
                config = VllmEngineConfig(url=url, model_directory=tiny, version=0)
                await (await VllmEngine.connect(config)).close()
            assert script.label == "0"
        assert fresh.commands == ["resume", "update_weight_version"]
        assert used.commands == ["resume", *SWAP]
        assert used.paths == [str(tiny)]

    asyncio.run(main())


def test_a_server_that_was_started_otherwise_is_refused(tiny: Path) -> None:
    async def main() -> None:
        with (
            serving(ScriptedVllm(raw_logprobs=True)) as url,
            pytest.raises(EngineUnavailable, match="processed_logprobs"),
        ):
            await VllmEngine.connect(VllmEngineConfig(url=url, model_directory=tiny))
        with pytest.raises(EngineUnavailable, match="does not answer"):
            await VllmEngine.connect(VllmEngineConfig(url=url, model_directory=tiny))

    asyncio.run(main())


def test_weights_change_while_a_request_runs(tiny: Path, tiny_versions: dict[int, Path]) -> None:
    async def main() -> None:
        script = ScriptedVllm(tokens=[72] * 6, hold_after=3)
        async with opened(script, tiny) as engine:
            task = asyncio.create_task(engine.generate(request(max_tokens=6)))
            await wait_until_async(lambda: engine.stats().tokens_total == 3, "three tokens")
            await engine.load(4, tiny_versions[1])
            script.go.set()
            made = await task
            assert made.versions == (0, 0, 0, 4, 4, 4)
            assert (engine.current, engine.versions()) == (4, (4,))
            assert script.commands == SWAP
            assert script.paths == [str(tiny_versions[1])]
            await engine.generate(request(max_tokens=6))
            salts = [body["cache_salt"] for body in script.asked]
            assert salts[0] != salts[1], "prompts of old weights are remembered for new ones"
            assert engine.stats().swaps_total == 1

    asyncio.run(main())


def test_a_pinned_request_ends_before_its_version_goes(
    tiny: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        script = ScriptedVllm(tokens=[72] * 6, hold_after=3)
        async with opened(script, tiny) as engine:
            pinned = asyncio.create_task(engine.generate(request(version=0, max_tokens=6)))
            await wait_until_async(lambda: engine.stats().tokens_total == 3, "three tokens")
            change = asyncio.create_task(engine.load(1, tiny_versions[1]))
            late = asyncio.create_task(engine.generate(request(version=0, max_tokens=6)))
            await wait_until_async(lambda: engine.stats().waiting == 1, "the late one to wait")
            assert not script.commands
            script.go.set()
            assert (await pinned).versions == (0,) * 6
            await change
            with pytest.raises(UnknownVersion, match="no longer held"):
                await late
            with pytest.raises(UnknownVersion, match="never loaded"):
                await engine.generate(request(version=9))

    asyncio.run(main())


def test_a_refused_folder_leaves_the_old_version(
    tiny: Path, tiny_versions: dict[int, Path], tmp_path: Path
) -> None:
    async def main() -> None:
        script = ScriptedVllm(refuse={"update_weights": "it lies outside"})
        async with opened(script, tiny) as engine:
            with pytest.raises(InvalidWeights, match="outside"):
                await engine.load(1, tiny_versions[1])
            assert script.commands[-1] == "resume"
            assert engine.current == 0
            script.commands.clear()
            with pytest.raises(InvalidWeights, match=r"no model\.safetensors"):
                await engine.load(1, tmp_path)
            assert not script.commands, "what is seen here is not told to the server"
            assert (await engine.generate(request(max_tokens=2))).versions == (0, 0)

    asyncio.run(main())


@pytest.mark.parametrize("broken", ["update_weights", "finish_weight_update"])
def test_a_half_applied_model_samples_nothing_until_whole_weights_are_in(
    tiny: Path, tiny_versions: dict[int, Path], broken: str
) -> None:
    async def main() -> None:
        script = ScriptedVllm(refuse={broken: "the model is half-applied"})
        async with opened(script, tiny) as engine:
            with pytest.raises(EngineUnavailable, match="half-applied"):
                await engine.load(1, tiny_versions[1])
            with pytest.raises(GenerationFailed, match="not certain"):
                await engine.generate(request())
            await engine.load(1, tiny_versions[1])
            assert (await engine.generate(request(max_tokens=2))).versions == (1, 1)

    asyncio.run(main())


def test_an_update_that_was_left_open_is_ended_first(
    tiny: Path, tiny_versions: dict[int, Path]
) -> None:
    async def main() -> None:
        script = ScriptedVllm(refuse={"start_weight_update": "already active"})
        async with opened(script, tiny) as engine:
            await engine.load(1, tiny_versions[1])
            assert script.commands[1:4] == [
                "start_weight_update",
                "finish_weight_update",
                "start_weight_update",
            ]
            assert script.label == "1"

    asyncio.run(main())


def test_a_cancelled_request_closes_its_connection(tiny: Path) -> None:
    async def main() -> None:
        script = ScriptedVllm(tokens=[72] * 6, hold_after=3)
        async with opened(script, tiny) as engine:
            task = asyncio.create_task(engine.generate(request(max_tokens=6)))
            await wait_until_async(lambda: engine.stats().tokens_total == 3, "three tokens")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await wait_until_async(lambda: script.dropped == 1, "the server to see it")
            assert engine.stats().running == 0

    asyncio.run(main())


def test_what_the_caller_raises_ends_the_request(tiny: Path) -> None:
    async def main() -> None:
        script = ScriptedVllm(tokens=[72] * 6, hold_after=3)

        def leave(_: Increment) -> None:
            raise KeyError("gone")

        async with opened(script, tiny) as engine:
            with pytest.raises(KeyError):
                await engine.generate(request(max_tokens=6), leave)
            await wait_until_async(lambda: script.dropped == 1, "the server to see it")

    asyncio.run(main())


def test_closing_ends_what_runs(tiny: Path) -> None:
    async def main() -> None:
        script = ScriptedVllm(tokens=[72] * 6, hold_after=3)
        async with opened(script, tiny) as engine:
            task = asyncio.create_task(engine.generate(request(max_tokens=6)))
            await wait_until_async(lambda: engine.stats().tokens_total == 3, "three tokens")
            await engine.close()
            with pytest.raises(EngineClosed):
                await task
            with pytest.raises(EngineClosed):
                await engine.generate(request())

    asyncio.run(main())


def test_requests_beyond_the_batch_wait(tiny: Path) -> None:
    async def main() -> None:
        script = ScriptedVllm(tokens=[72] * 6, hold_after=3)
        async with opened(script, tiny, max_batch=2) as engine:
            tasks = [asyncio.create_task(engine.generate(request(max_tokens=6))) for _ in range(3)]
            await wait_until_async(lambda: engine.stats().tokens_total == 6, "two to run")
            assert (engine.stats().running, engine.stats().waiting) == (2, 1)
            script.go.set()
            assert len({one.token_ids for one in await asyncio.gather(*tasks)}) == 1

    asyncio.run(main())


def test_failures_of_the_server_are_told_as_the_contract_has_them(tiny: Path) -> None:
    async def main() -> None:
        script = ScriptedVllm(refuse_generate="no such grammar")
        async with opened(script, tiny) as engine:
            with pytest.raises(InvalidRequest, match="no such grammar"):
                await engine.generate(request())
            script.refuse_generate, script.break_off = "", True
            with pytest.raises(GenerationFailed, match="broke off"):
                await engine.generate(request())
            script.break_off, script.reason = False, "abort"
            with pytest.raises(GenerationFailed, match="abort"):
                await engine.generate(request())
            with pytest.raises(PromptTooLong, match="300"):
                await engine.generate(request(max_tokens=298))
            with pytest.raises(InvalidRequest, match="vLLM draws"):
                await engine.generate(request(temperature=0.001))

    asyncio.run(main())


def test_a_folder_of_another_model_is_not_loaded(tiny: Path, tmp_path: Path) -> None:
    async def main() -> None:
        cut = tmp_path / "cut"
        shutil.copytree(tiny, cut)
        whole = (cut / "model.safetensors").read_bytes()
        (cut / "model.safetensors").write_bytes(whole[:-1])
        async with opened(ScriptedVllm(), tiny) as engine:
            with pytest.raises(InvalidWeights, match="bytes long"):
                await engine.load(1, cut)

    asyncio.run(main())
