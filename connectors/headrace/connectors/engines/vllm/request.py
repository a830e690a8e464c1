"""A request of ours as the body of vLLM's `POST /inference/v1/generate`. Pure."""

from collections.abc import Collection
from typing import Any

from headrace.connectors.engines.base import Constraint, GenerationRequest
from headrace.connectors.engines.errors import InvalidRequest

PATH = "/inference/v1/generate"
MOST_TOP_LOGPROBS = 20
COLDEST = 0.01
"""vLLM draws at this temperature whenever a lower one above 0 is asked."""
_SEEDS = 2**63


def body_of(
    request: GenerationRequest, *, model: str, end_ids: Collection[int], salt: str
) -> dict[str, Any]:
    """The body that asks for a streamed completion: token ids and log-probabilities.

    Args:
        model: name under which the server serves the policy.
        salt: prompts are remembered among requests of equal salt only.

    Raises:
        InvalidRequest: vLLM would answer something else than was asked.
    """
    sampling = request.sampling
    if 0 < sampling.temperature < COLDEST:
        raise InvalidRequest(
            f"temperature is {sampling.temperature}: vLLM draws at none between 0 and {COLDEST}"
        )
    if request.top_logprobs > MOST_TOP_LOGPROBS:
        raise InvalidRequest(
            f"top_logprobs is {request.top_logprobs}: give up to {MOST_TOP_LOGPROBS}"
        )
    parameters: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop),
        "include_stop_str_in_output": sampling.include_stop,
        "stop_token_ids": sorted(end_ids),
        # The sampled token comes first in vLLM's list, and the list is cut to this length.
        "logprobs": request.top_logprobs + 1 if request.top_logprobs else 0,
    }
    if sampling.logit_bias:
        parameters["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias}
    if sampling.seed is not None:
        parameters["seed"] = sampling.seed % _SEEDS  # vLLM takes -1 for none
    if request.constraint is not None:
        parameters["structured_outputs"] = _form(request.constraint)
    return {
        "token_ids": list(request.prompt_ids),
        "sampling_params": parameters,
        "model": model,
        "output_mode": "tokens",
        "stream": True,
        "stream_options": {"include_usage": True},
        "cache_salt": salt,
    }


def _form(constraint: Constraint) -> dict[str, Any]:
    match constraint.kind:
        case "json_object":
            return {"json_object": True}
        case "json_schema":
            return {"json": constraint.source}
        case "regex":
            return {"regex": constraint.source}
        case "lark":
            return {"grammar": constraint.source}
