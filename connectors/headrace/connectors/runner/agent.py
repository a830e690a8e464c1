"""Calling an agent: `module:function(task_input, *, base_url, api_key)`, sync or async."""

import asyncio
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from headrace.connectors.described import Described, as_json, as_name
from headrace.connectors.runner.errors import AgentUnusable
from headrace.connectors.runner.jobs import Job


def import_from_here() -> None:
    """Let modules be found in the folder where this process was started."""
    here = os.getcwd()  # noqa: PTH109 - sys.path holds strings
    if here not in sys.path:
        sys.path.insert(0, here)


def load_agent(name: str) -> Callable[..., Any]:
    """The function behind `module:function`. Raises AgentUnusable."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise AgentUnusable(
            f"agent {name!r} is not module:function: name it so in the task, or in "
            "`headrace work --agent`"
        )
    try:
        agent = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise AgentUnusable(
            f"agent {name!r} cannot be imported here ({as_name(error)}): "
            "start the runner in its folder or install it"
        ) from error
    if not callable(agent):
        raise AgentUnusable(f"agent {name!r} is not a function")
    found: Callable[..., Any] = agent
    return found


def call_agent(job: Job) -> Described:
    """Run a job's agent and return what it returned as JSON, whatever it is.

    The agent is given `model=` only if it has a parameter of that name: `policy@version` where
    the task pins a version, else `policy`. Raises whatever the agent raises, and AgentUnusable.
    """
    agent = load_agent(job.agent)
    arguments: dict[str, Any] = {"base_url": job.base_url, "api_key": job.api_key}
    if "model" in inspect.signature(agent).parameters:
        if job.model:
            arguments["model"] = job.model
    elif job.pinned:
        raise AgentUnusable(
            f"the task pins {job.model} but agent {job.agent!r} has no parameter `model`: "
            "give it one"
        )
    task_input = json.loads(job.task_input) if job.task_input else None
    result = agent(task_input, **arguments)
    if _is_awaitable(result):
        result = asyncio.run(_awaited(result))
    return Described(text="") if result is None else as_json(result)


def _is_awaitable(result: Any) -> bool:
    try:
        return inspect.isawaitable(result)
    except Exception:  # its class raises when asked
        return False


async def _awaited(result: Any) -> Any:
    return await result
