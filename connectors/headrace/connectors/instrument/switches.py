"""What frameworks need beyond an instrumentor. Imported in the agent's process, on first use."""

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any

from opentelemetry import trace

from headrace.connectors.instrument import names
from headrace.connectors.instrument.journal import journal_here
from headrace.connectors.instrument.open_spans import agent_at


def keep_traces_here(module: ModuleType, _provider: Any) -> None:
    """openai-agents posts its traces to the vendor, with the key it has: not with ours."""
    if names.REDIRECTED in os.environ:
        module.set_trace_processors([])


def without_cache(module: ModuleType, _provider: Any) -> None:
    """DSPy answers a call that it has made before from its disk, with spans and without a call."""
    configure = getattr(module, "configure_cache", None)
    if configure is not None:
        configure(enable_disk_cache=False, enable_memory_cache=False)


def instrument_pydantic_ai(module: ModuleType, provider: Any) -> None:
    """pydantic-ai has spans of its own and no environment variable for them."""
    settings = import_module("pydantic_ai.models.instrumented").InstrumentationSettings
    module.Agent.instrument_all(settings(tracer_provider=provider))


def tell_tools(_module: ModuleType, provider: Any) -> None:
    """AutoGen's own span of a tool has neither arguments nor result: ours is used instead."""
    tools: Any = import_module("autogen_core.tools._base")
    tracer = provider.get_tracer("headrace.autogen")
    run, own_span = tools.BaseTool.run_json, tools.trace_tool_span
    in_ours: ContextVar[bool] = ContextVar("headrace_in_tool", default=False)

    @wraps(run)
    async def told(self: Any, args: Any, *rest: Any, **options: Any) -> Any:
        facts = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": self.name,
            "gen_ai.tool.call.arguments": json.dumps(args, default=str),
        }
        with tracer.start_as_current_span(f"execute_tool {self.name}", attributes=facts) as span:
            token = in_ours.set(True)
            try:
                result = await run(self, args, *rest, **options)
            finally:
                in_ours.reset(token)
            span.set_attribute("gen_ai.tool.call.result", str(result))
            return result

    def traced(*args: Any, **options: Any) -> Any:
        return nullcontext() if in_ours.get() else own_span(*args, **options)

    tools.BaseTool.run_json = told
    tools.trace_tool_span = traced


def name_agents(module: ModuleType, provider: Any) -> None:
    """CrewAI's coworkers that are delegated to have no span in OpenInference's instrumentation."""
    agent = getattr(module, "Agent", None)
    if agent is None:  # another module of that name
        return
    tracer = provider.get_tracer("headrace.crewai")
    execute = agent.execute_task

    @wraps(execute)
    def executed(self: Any, *args: Any, **options: Any) -> Any:
        name = str(self.role).strip()
        with tracer.start_as_current_span(f"invoke_agent {name}") as span:
            span.set_attribute("gen_ai.agent.name", name)
            return execute(self, *args, **options)

    agent.execute_task = executed


def name_roles(module: ModuleType, provider: Any) -> None:
    """MetaGPT has no spans: what a role does once is one of its agent's."""
    tracer = provider.get_tracer("headrace.metagpt")
    react = module.Role.react

    @wraps(react)
    async def reacting(self: Any, *args: Any, **options: Any) -> Any:
        facts = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": str(self.name)}
        with tracer.start_as_current_span(f"invoke_agent {self.name}", attributes=facts):
            return await react(self, *args, **options)

    module.Role.react = reacting


def name_parents(module: ModuleType, _provider: Any) -> None:
    """The clients of `openai` and `anthropic` tell the gateway in which span a call was made, and,
    where somebody wants to know, by which agent.

    Every request of theirs is made by `BaseClient._build_request`: raw responses, streams and
    retries too, which instrumentations of their resources do not see.
    """
    gateway = os.environ.get(names.REDIRECTED)
    base = getattr(module, "_base_client", None)  # versions before 1 have none
    if gateway and base is not None:
        base.BaseClient._build_request = _naming(base.BaseClient._build_request, gateway)


def _naming(build: Callable[..., Any], gateway: str) -> Callable[..., Any]:
    @wraps(build)
    def built(self: Any, *args: Any, **options: Any) -> Any:
        request = build(self, *args, **options)
        parent = _span_here()
        if parent and str(request.url).startswith(gateway):
            request.headers.setdefault(names.PARENT_HEADER, parent)
            if os.environ.get(names.NAMES_AGENTS) and (agent := agent_at(int(parent, 16))):
                request.headers.setdefault(names.AGENT_HEADER, agent)
        return request

    return built


def _span_here() -> str:
    """The span that this code runs in: the current one, else that which the process is in."""
    span = trace.get_current_span().get_span_context()
    if span.is_valid and span.trace_flags.sampled:
        return f"{span.span_id:016x}"
    journal = journal_here()
    return "" if journal is None else journal.parent
