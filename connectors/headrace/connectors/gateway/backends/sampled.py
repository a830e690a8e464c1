"""Chat completions sampled by our own engine: a policy's version, with tokens kept."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headrace.connectors.engines import (
    EngineError,
    Generation,
    GenerationRequest,
    InvalidRequest,
    PromptTooLong,
    UnknownVersion,
)
from headrace.connectors.gateway.calls import Completion, IncomingCall, to_json
from headrace.connectors.gateway.config import GatewayConfig
from headrace.connectors.gateway.dialects.chat_request import ChatRequest, parse_chat_request
from headrace.connectors.gateway.errors import BackendFailed, BadRequest, PromptRefused
from headrace.connectors.gateway.policy.serving import PolicyServing
from headrace.connectors.gateway.policy.versions import split_model
from headrace.connectors.gateway.trainable import untrainable_reason
from headrace.schemas import Call, response_id


class SampledChat:
    """Answers `name` and `name@7` of one policy."""

    def __init__(self, serving: PolicyServing, config: GatewayConfig) -> None:
        self._serving = serving
        self._config = config

    async def complete(self, asked: IncomingCall, body: Mapping[str, Any]) -> Completion:
        """Sample the completion of a request.

        Raises:
            BadRequest, ModelNotFound, NotReady: it cannot be asked so, or not now.
            CallFailed: the engine was asked, in vain.
        """
        _, pinned = split_model(asked.model)
        request = parse_chat_request(
            body,
            max_messages=self._config.max_messages,
            default_max_tokens=self._config.default_max_tokens,
        )
        has_version = self._serving.admit(pinned)
        try:
            prompt_ids = self._serving.engine.encode(self._serving.engine.render(request.messages))
        except InvalidRequest as error:
            raise BadRequest(
                f"the model's chat template refuses these messages: {error}", param="messages"
            ) from error
        if pinned is not None:
            await self._serving.ensure(pinned)
        elif asked.correlation.in_rollout:
            await self._serving.newest()
        generation = await self._generate(
            GenerationRequest(prompt_ids=prompt_ids, sampling=request.sampling, version=pinned)
        )
        call = call_of(
            generation,
            request,
            prompt_ids,
            model=self._serving.engine.model_name,
            policy=self._serving.policy if has_version else "",
            response=response_id(asked.span_id),
        )
        return Completion(
            body=to_json(answer(asked, call, generation, request.logprobs)).encode(),
            call=call,
            output=generation.text,
            prompt_tokens=len(prompt_ids),
            completion_tokens=len(generation.token_ids),
            attributes={"gen_ai.request.stop_sequences": request.sampling.stop}
            if request.sampling.stop
            else {},
        )

    async def _generate(self, request: GenerationRequest) -> Generation:
        try:
            return await self._serving.engine.generate(request)
        except PromptTooLong as error:
            raise PromptRefused(str(error), param="messages") from error
        except InvalidRequest as error:
            raise PromptRefused(str(error), param="messages", code="invalid_prompt") from error
        except UnknownVersion as error:
            raise BackendFailed(f"the engine lost a version that it had: {error}") from error
        except EngineError as error:
            raise BackendFailed(f"the engine failed: {error}") from error


def call_of(
    generation: Generation,
    request: ChatRequest,
    prompt_ids: Sequence[int],
    *,
    model: str,
    policy: str,
    response: str,
) -> Call:
    """The facts of a sampled call; `policy` is empty where the weights are of no version."""
    sampling = request.sampling
    reason = untrainable_reason(
        sampling,
        token_ids=generation.token_ids,
        logprobs=generation.logprobs,
        versions=generation.versions,
        policy=policy,
    )
    return Call(
        model=model,
        policy=policy,
        response_id=response,
        prompt_ids=np.asarray(prompt_ids, dtype="<u4"),
        sampled_ids=np.asarray(generation.token_ids, dtype="<u4"),
        logprobs=np.asarray(generation.logprobs, dtype="<f4"),
        runs=runs_of(generation.versions) if policy else (),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        seed=sampling.seed,
        max_tokens=sampling.max_tokens,
        finish_reason=generation.finish_reason,
        trainable=not reason,
        untrainable_reason=reason,
    )


def runs_of(versions: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Run lengths: (3, 3, 4) becomes ((3, 2), (4, 1))."""
    return tuple((version, len(list(run))) for version, run in itertools.groupby(versions))


def answer(
    asked: IncomingCall, call: Call, generation: Generation, logprobs: bool
) -> dict[str, Any]:
    """The chat completion as OpenAI's clients read it, with ours under `headrace`."""
    prompt, sampled = len(call.prompt_ids), len(generation.token_ids)
    message = {"role": "assistant", "content": generation.text, "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": {"content": _logprobs(generation), "refusal": None} if logprobs else None,
        "finish_reason": generation.finish_reason,
    }
    return {
        "id": call.response_id,
        "object": "chat.completion",
        "created": asked.started_at // 10**9,
        "model": asked.model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": sampled,
            "total_tokens": prompt + sampled,
        },
        "system_fingerprint": f"{call.policy}@{call.runs[-1][0]}" if call.runs else None,
        "headrace": {
            "rollout_id": asked.correlation.rollout_id,
            "attempt": asked.correlation.attempt,
            "policy": call.policy,
            "versions": [list(run) for run in call.runs],
            "trainable": call.trainable,
            "untrainable_reason": call.untrainable_reason,
        },
    }


def _logprobs(generation: Generation) -> list[dict[str, Any]]:
    # The engine gives ids, not pieces of text: vLLM's notation for exactly that.
    return [
        {"token": f"token_id:{token}", "logprob": logprob, "bytes": None, "top_logprobs": []}
        for token, logprob in zip(generation.token_ids, generation.logprobs, strict=True)
    ]
