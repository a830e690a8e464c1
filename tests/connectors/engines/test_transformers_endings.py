"""How a completion of the built-in engine ends."""

import asyncio
import re
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from headrace.connectors.engines import SamplingParameters
from headrace.connectors.engines.transformers.sampling import sample, uniform
from tests.connectors.engines.asking import QUESTIONS, conversation, request


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
