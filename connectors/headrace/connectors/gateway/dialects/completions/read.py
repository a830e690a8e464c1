"""A request of the Completions API, checked. Pure.

https://platform.openai.com/docs/api-reference/completions/create
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.connectors.engines import Constraint
from headrace.connectors.gateway.conversation import Ask
from headrace.connectors.gateway.dialects.fields import (
    INT32,
    MAX_TOP_LOGPROBS,
    flag,
    integer,
    json_form,
    model_of,
    one_object,
    sampling,
    stops,
    unknown_fields,
    unsupported,
)
from headrace.connectors.gateway.errors import BadRequest

HONOURED = frozenset(
    {
        "best_of",
        "echo",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_tokens",
        "min_p",
        "model",
        "n",
        "presence_penalty",
        "prompt",
        "response_format",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "top_k",
        "top_p",
    }
)
IGNORED = frozenset({"user"})
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (1,),
    "suffix": ("",),
}
MAX_CHOICES = 128
"""Completions of one request, over all its prompts."""

Prompt = str | tuple[int, ...]


@dataclass(kw_only=True, slots=True, frozen=True)
class CompletionsRequest:
    """A request: an ask for each prompt, and how the answer is to look."""

    asks: tuple[Ask, ...]
    """One a prompt, alike but for it."""
    echo: bool
    """Whether the text begins with the prompt."""
    with_usage: bool
    """Whether a stream ends with the usage."""

    def echoed(self) -> tuple[str, ...]:
        """What each choice's text begins with; empty: with nothing."""
        if not self.echo:
            return ()
        # Text alone: reading refuses to echo token ids.
        return tuple(str(ask.prompt) for ask in self.asks for _ in range(ask.choices))


def read(body: Mapping[str, Any], *, default_max_tokens: int) -> CompletionsRequest:
    """What a request asks for.

    Raises:
        BadRequest: a field is malformed, or asks for what is not served; message and `param` name
            it.
    """
    noted = unknown_fields(body, honoured=HONOURED, ignored=IGNORED, neutral=NEUTRAL)
    model = model_of(body)
    prompts = _prompts(body.get("prompt"))
    logprobs = _logprobs(body)
    sampled = sampling(
        body,
        max_tokens=integer(body, "max_tokens", default_max_tokens, 1),
        stop=stops(body),
        adjusts=True,
    )
    choices = _choices(body, len(prompts))
    constraint = _constraint(body)
    streams = flag(body, "stream")
    echo = _echo(body, prompts, logprobs)
    asks = tuple(
        Ask(
            model=model,
            prompt=prompt,
            sampling=sampled,
            says_max_tokens=body.get("max_tokens") is not None,
            choices=choices,
            logprobs=logprobs,
            constraint=constraint,
            streams=streams,
            noted=noted,
        )
        for prompt in prompts
    )
    options = one_object(body, "stream_options")
    with_usage = flag(options, "include_usage", where="stream_options.")
    return CompletionsRequest(asks=asks, echo=echo, with_usage=with_usage)


def _prompts(prompt: Any) -> tuple[Prompt, ...]:
    """One prompt or several: a string, strings, token ids, or lists of token ids."""
    if isinstance(prompt, str):
        return (_not_empty(prompt, "prompt"),)
    if not isinstance(prompt, list) or not prompt:
        raise BadRequest(
            "prompt must be a string, a list of token ids, or a list of such prompts",
            param="prompt",
        )
    if all(_is_token(one) for one in prompt):
        return (tuple(prompt),)
    return tuple(_one_of_several(one, f"prompt[{i}]") for i, one in enumerate(prompt))


def _one_of_several(prompt: Any, where: str) -> Prompt:
    if isinstance(prompt, str):
        return _not_empty(prompt, where)
    if isinstance(prompt, list) and prompt and all(_is_token(one) for one in prompt):
        return tuple(prompt)
    raise BadRequest(f"{where} must be a string or a list of token ids", param=where)


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < INT32


def _not_empty(prompt: str, where: str) -> str:
    if not prompt:
        raise BadRequest(f"{where} is empty: give text to go on from", param=where)
    return prompt


def _choices(body: Mapping[str, Any], prompts: int) -> int:
    choices = integer(body, "n", 1, 1)
    if choices * prompts > MAX_CHOICES:
        raise BadRequest(
            f"n asks for {choices} completions of {prompts} prompts: give up to {MAX_CHOICES} in "
            "all",
            param="n",
        )
    if integer(body, "best_of", choices, 1) != choices:
        raise unsupported("best_of", "other than n", "leave it out, and choose among n")
    return choices


def _logprobs(body: Mapping[str, Any]) -> int | None:
    if body.get("logprobs") is None or body["logprobs"] is False:
        return None
    return integer(body, "logprobs", 0, 0, MAX_TOP_LOGPROBS + 1)


def _echo(body: Mapping[str, Any], prompts: tuple[Prompt, ...], logprobs: int | None) -> bool:
    if not flag(body, "echo"):
        return False
    if logprobs is not None:
        raise unsupported(
            "echo",
            "with logprobs",
            "leave one of them out (the prompt's log-probabilities are not computed)",
        )
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise unsupported("echo", "of token ids", "send the prompt as text")
    return True


def _constraint(body: Mapping[str, Any]) -> Constraint | None:
    form = one_object(body, "response_format")
    schema = one_object(form, "json_schema", "response_format.")
    return json_form({**form, "schema": schema.get("schema")}, "response_format")
