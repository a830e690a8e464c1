"""What a completion may be: its form, and how long it gets. Pure."""

from dataclasses import dataclass, replace
from typing import Literal

from headrace.connectors.engines import Constraint, SamplingParameters
from headrace.connectors.gateway.conversation import Ask
from headrace.connectors.gateway.errors import BadRequest
from headrace.connectors.gateway.prompts import Rendering
from headrace.connectors.gateway.tools import NoGrammar, grammar

StrictTools = Literal["traffic", "always", "never"]
SHARE, LEAST = 4, 256
"""A request that names no bound gets a quarter of the context, but 256 tokens at least: a small
model that runs on is stopped, and an answer of a large one is whole."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Form:
    """What a reply may say; None: anything."""

    constraint: Constraint | None
    otherwise: Constraint | None = None
    """Where the engine cannot follow the constraint and it is no more than a wish."""
    is_wish: bool = False


def form_of(ask: Ask, rendering: Rendering, strict_tools: StrictTools, *, in_rollout: bool) -> Form:
    """The form that a reply must have.

    Rollouts may be sampled otherwise than their client asks, so that they can be trained; traffic
    may not: it is given the strict tools that it asks for.

    Raises:
        BadRequest: a call has to be made that the model's format cannot write.
    """
    strict = strict_tools == "always" or (strict_tools == "traffic" and not in_rollout)
    try:
        made = grammar(
            ask.tools,
            ask.tool_choice,
            rendering.format,
            answer=ask.constraint,
            strict=strict,
            opening_id=rendering.opening_id,
        )
    except NoGrammar as error:
        raise BadRequest(
            f"tool_choice cannot make this model call a tool in its format "
            f"({rendering.format.name}): {error}; send auto",
            param="tool_choice",
            code="unsupported",
        ) from error
    is_wish = made != ask.constraint and ask.tool_choice.mode != "required"
    return Form(constraint=made, otherwise=ask.constraint, is_wish=is_wish)


def length_of(ask: Ask, prompt_tokens: int, max_sequence: int) -> SamplingParameters:
    """How to sample, with the tokens that a request gets which does not say how many it wants."""
    if ask.says_max_tokens:
        return ask.sampling
    most = min(
        ask.sampling.max_tokens, max(LEAST, max_sequence // SHARE), max_sequence - prompt_tokens
    )
    return replace(ask.sampling, max_tokens=max(1, most))
