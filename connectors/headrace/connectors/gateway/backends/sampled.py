"""Completions sampled by our own engine: a policy's version, with tokens kept."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from headrace.connectors.gateway.backends.reply import Reply
from headrace.connectors.gateway.backends.shape import Form, StrictTools, form_of, length_of
from headrace.connectors.gateway.calls import AnsweredCall, Completion, IncomingCall
from headrace.connectors.gateway.conversation import (
    Answer,
    AnswerEvent,
    Ask,
    Choice,
    Usage,
)
from headrace.connectors.gateway.errors import BackendFailed, BadRequest, PromptRefused
from headrace.connectors.gateway.policy.serving import PolicyServing
from headrace.connectors.gateway.privacy import CallPrivacy
from headrace.connectors.gateway.prompts import Prompt, Prompts, Rendering
from headrace.connectors.gateway.tools import ReplyParser
from headrace.connectors.gateway.trainable import untrainable_reason
from headrace.connectors.privacy import Privacy, PrivacySettings
from headrace.connectors.privacy.spans import without_tokens
from headrace.schemas import Call, call_id, new_span_id
from headrace.schemas.vocabulary import Untrainable

LONG_PROMPT = 10_000
"""Characters from which on a prompt is cut into tokens in a thread."""


@dataclass(kw_only=True, slots=True, frozen=True)
class _Planned:
    """One completion to sample."""

    index: int
    is_first: bool
    """Whether it is the first of its ask: the others share the prompt, which was read once."""
    ask: Ask
    prompt: Prompt
    form: Form
    span_id: str


class Sampled:
    """Answers for one policy."""

    def __init__(
        self,
        serving: PolicyServing,
        *,
        prompts_memory_bytes: int,
        privacy: Privacy | None = None,
        tool_format: str = "auto",
        strict_tools: StrictTools = "traffic",
    ) -> None:
        """tool_format: how the model writes calls of tools, by a name of `FORMATS`; auto: as its
        chat template shows. strict_tools: whose strict tools are enforced."""
        self._serving, self._strict_tools = serving, strict_tools
        self._privacy = CallPrivacy(privacy or Privacy(PrivacySettings()))
        self._rendering = Rendering(serving.engine, tool_format)
        self._prompts = Prompts(self._rendering, max_bytes=prompts_memory_bytes)

    async def answer(
        self,
        asked: IncomingCall,
        asks: Sequence[Ask],
        on_event: Callable[[AnswerEvent], None] | None,
    ) -> Completion:
        """Sample what is asked for; `on_event`, if given, gets what each choice grows by.

        Raises:
            BadRequest, ModelNotFound, NotReady: it cannot be asked so, or not now.
            CallFailed: the engine was asked, in vain.
        """
        pinned = asked.version
        has_version = self._serving.admit(pinned)
        planned = await self._plan(asked, asks)
        if pinned is not None:
            await self._serving.ensure(pinned)
        elif asked.correlation.in_rollout:
            await self._serving.newest()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._sample(asked, one, pinned, has_version, on_event))
                    for one in planned
                ]
        except* (BadRequest, PromptRefused, BackendFailed) as errors:
            raise errors.exceptions[0] from errors
        made = [task.result() for task in tasks]
        return Completion(
            answer=_answer(asked, planned, made),
            calls=tuple(call for _, call in made),
        )

    def count(self, ask: Ask) -> int:
        """Tokens of a prompt; raises BadRequest."""
        return len(self._prompt("", ask).ids)

    async def _plan(self, asked: IncomingCall, asks: Sequence[Ask]) -> list[_Planned]:
        planned: list[_Planned] = []
        for ask in asks:
            scope = asked.correlation.scope
            if _is_long(ask):  # seconds for megabytes: other requests go on meanwhile
                prompt = await asyncio.to_thread(self._prompt, scope, ask)
            else:
                prompt = self._prompt(scope, ask)
            form = form_of(
                ask, self._rendering, self._strict_tools, in_rollout=asked.correlation.in_rollout
            )
            bounded = length_of(ask, len(prompt.ids), self._serving.engine.max_sequence)
            for choice in range(ask.choices):
                sampling = bounded
                if sampling.seed is not None:
                    sampling = replace(sampling, seed=sampling.seed + choice)
                planned.append(
                    _Planned(
                        index=len(planned),
                        is_first=choice == 0,
                        ask=replace(ask, sampling=sampling),
                        prompt=prompt,
                        form=form,
                        span_id=new_span_id() if planned else asked.span_id,
                    )
                )
        return planned

    def _prompt(self, scope: str, ask: Ask) -> Prompt:
        if isinstance(ask.prompt, tuple):
            return Prompt(ids=ask.prompt, how="new", text="")
        if isinstance(ask.prompt, str):
            ids = self._rendering.encode(ask.prompt)
            return Prompt(ids=ids, how="new", text=ask.prompt)
        tools = () if ask.tool_choice.mode == "none" else ask.tools
        return self._prompts.prompt(scope, ask.messages, tools)

    async def _sample(
        self,
        asked: IncomingCall,
        planned: _Planned,
        pinned: int | None,
        has_version: bool,
        on_event: Callable[[AnswerEvent], None] | None,
    ) -> tuple[Choice, AnsweredCall]:
        ask, engine = planned.ask, self._serving.engine
        has_tools = bool(ask.tools) and ask.tool_choice.mode != "none"
        reply = Reply(
            planned.index,
            on_event or _unheard,
            parser=self._parser(planned) if has_tools else None,
            token_bytes=None if ask.logprobs is None else engine.token_bytes,
        )
        request = GenerationRequest(
            prompt_ids=planned.prompt.ids,
            sampling=ask.sampling,
            version=pinned,
            top_logprobs=ask.logprobs or 0,
            constraint=planned.form.constraint,
        )
        request, generation, wish = await self._generate(
            request, reply, planned.form, grows=on_event is not None
        )
        choice = reply.ended(generation, planned.prompt.ids)
        prefix = asked.response_id.removesuffix(asked.span_id)
        call = call_of(
            generation,
            request,
            model=engine.model_name,
            policy=self._serving.policy if has_version else "",
            response=prefix + planned.span_id,
            finish_reason=choice.finish_reason,
            selected=asked.selected,
        )
        withheld = await self._withheld(asked, planned, generation)
        if withheld is not None:
            call = without_tokens(call, withheld)
        if ask.messages and withheld is not Untrainable.REDACTED:
            where = asked.correlation
            self._prompts.remember(
                where.scope,
                ask.messages,
                planned.prompt,
                choice,
                call_id(where.rollout_id, where.attempt, planned.span_id),
            )
        return choice, AnsweredCall(
            span_id=planned.span_id,
            call=call,
            output=choice.text,
            prompt_tokens=len(planned.prompt.ids),
            completion_tokens=len(generation.token_ids),
            attributes={**_facts(asked, planned, choice, reply.malformed), **wish},
        )

    async def _withheld(
        self, asked: IncomingCall, planned: _Planned, generation: Generation
    ) -> Untrainable | None:
        """Why the call's tokens may not be kept; None: they may."""
        project, has_tools = asked.correlation.project, bool(planned.ask.tools)
        why = self._privacy.forbids_tokens(project, asked.hidden, has_tools=has_tools)
        if why is not None or not self._privacy.reads_tokens:
            return why
        ids = (*planned.prompt.ids, *generation.token_ids)
        # Text leaves special tokens out, and tokens have them: each may spell what the other parts.
        tokens = b"".join(self._serving.engine.token_bytes(ids))
        spelled = b"\n".join((tokens, generation.text.encode()))
        if len(spelled) > LONG_PROMPT:
            spells = await asyncio.to_thread(self._privacy.spells_out, spelled)
        else:
            spells = self._privacy.spells_out(spelled)
        return Untrainable.REDACTED if spells else None

    def _parser(self, planned: _Planned) -> ReplyParser:
        def tool_call_id(index: int) -> str:
            return f"call_{planned.span_id}{index:x}"

        return ReplyParser(
            self._rendering.format,
            choice=planned.index,
            call_id=tool_call_id,
            most=0 if planned.ask.tool_choice.parallel else 1,
        )

    async def _generate(
        self, request: GenerationRequest, reply: Reply, form: Form, *, grows: bool
    ) -> tuple[GenerationRequest, Generation, dict[str, Any]]:
        """What was asked for in the end, what came of it, and what its span should say of that."""
        engine, heard = self._serving.engine, reply.grew if grows else None
        told: dict[str, Any] = {}
        try:
            try:
                generation = await engine.generate(request, heard)
            except PromptTooLong:
                raise
            except InvalidRequest as error:
                if not form.is_wish or reply.has_begun:
                    raise
                # A schema that no grammar is made of, of a tool that need not be called.
                request = replace(request, constraint=form.otherwise)
                told = {"headrace.strict_tools": f"not enforced: {error}"[:1000]}
                generation = await engine.generate(request, heard)
            if not grows:
                reply.grew(generation.as_increment())
            return request, generation, told
        except PromptTooLong as error:
            raise PromptRefused(str(error), param="messages") from error
        except InvalidRequest as error:
            param = "logit_bias" if str(error).startswith("logit_bias") else "messages"
            raise PromptRefused(str(error), param=param, code="invalid_prompt") from error
        except UnknownVersion as error:
            raise BackendFailed(f"the engine lost a version that it had: {error}") from error
        except EngineError as error:
            raise BackendFailed(f"the engine failed: {error}") from error


def call_of(
    generation: Generation,
    request: GenerationRequest,
    *,
    model: str,
    policy: str,
    response: str,
    finish_reason: str,
    selected: bool = True,
) -> Call:
    """The facts of a sampled call; `policy` is empty where the weights are of no version, and
    `selected` says whether its agent's calls are trained."""
    sampling = request.sampling
    reason = untrainable_reason(
        sampling,
        is_constrained=request.constraint is not None,
        token_ids=generation.token_ids,
        logprobs=generation.logprobs,
        versions=generation.versions,
        policy=policy,
        selected=selected,
    )
    return Call(
        model=model,
        policy=policy,
        response_id=response,
        prompt_ids=np.asarray(request.prompt_ids, dtype="<u4"),
        sampled_ids=np.asarray(generation.token_ids, dtype="<u4"),
        logprobs=np.asarray(generation.logprobs, dtype="<f4"),
        runs=runs_of(generation.versions) if policy else (),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        seed=sampling.seed,
        max_tokens=sampling.max_tokens,
        finish_reason=finish_reason,
        trainable=not reason,
        untrainable_reason=reason,
    )


def _unheard(_event: AnswerEvent) -> None: ...


def _is_long(ask: Ask) -> bool:
    texts = (len(message.content) for message in ask.messages)
    return sum(texts) + (len(ask.prompt) if isinstance(ask.prompt, str) else 0) > LONG_PROMPT


def runs_of(versions: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Run lengths: (3, 3, 4) becomes ((3, 2), (4, 1))."""
    return tuple((version, len(list(run))) for version, run in itertools.groupby(versions))


def _answer(
    asked: IncomingCall,
    planned: Sequence[_Planned],
    made: Sequence[tuple[Choice, AnsweredCall]],
) -> Answer:
    first = made[0][1].call
    return Answer(
        id=asked.response_id,
        model=asked.model,
        created=asked.started_at // 10**9,
        choices=tuple(choice for choice, _ in made),
        usage=Usage(
            prompt=sum(len(one.prompt.ids) for one in planned if one.is_first),
            completion=sum(call.completion_tokens for _, call in made),
        ),
        fingerprint=f"{first.policy}@{first.runs[-1][0]}" if first.runs else None,
        facts={
            "rollout_id": asked.correlation.rollout_id,
            "attempt": asked.correlation.attempt,
            "policy": first.policy,
            "versions": [list(run) for run in first.runs],
            "trainable": first.trainable,
            "untrainable_reason": first.untrainable_reason,
        },
    )


def _facts(
    asked: IncomingCall, planned: _Planned, choice: Choice, malformed: Sequence[str]
) -> dict[str, Any]:
    facts: dict[str, Any] = {"headrace.prompt": planned.prompt.how}
    if planned.prompt.extends:
        facts["headrace.prompt_extends"] = planned.prompt.extends
    if planned.ask.sampling.stop:
        facts["gen_ai.request.stop_sequences"] = planned.ask.sampling.stop
    if choice.tool_calls:
        facts["gen_ai.output.messages"] = [_output_message(choice)]
    if malformed:
        facts["headrace.malformed_tool_calls"] = list(malformed)
    if choice.left_out:
        facts["headrace.left_out_tool_calls"] = choice.left_out
    if planned.span_id != asked.span_id:
        facts |= {"headrace.choice": planned.index, "headrace.choice_of": asked.span_id}
    return facts


def _output_message(choice: Choice) -> dict[str, Any]:
    """An answer as OpenTelemetry's GenAI conventions write it."""
    said = [{"type": "text", "content": choice.text}] if choice.text else []
    calls = [
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}
        for call in choice.tool_calls
    ]
    return {
        "role": "assistant",
        "parts": [*said, *calls],
        "finish_reason": choice.finish_reason,
    }
