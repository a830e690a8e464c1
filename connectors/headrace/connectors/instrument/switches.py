"""What frameworks need beyond an instrumentor. Imported in the agent's process, on first use."""

import os
from types import ModuleType
from typing import Any

from headrace.connectors.instrument import names


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
    from importlib import import_module

    settings = import_module("pydantic_ai.models.instrumented").InstrumentationSettings
    module.Agent.instrument_all(settings(tracer_provider=provider))
