"""Processes that an agent starts learn in which span they were started, by TRACEPARENT."""

import os
import subprocess
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from opentelemetry import trace

from headrace.connectors.instrument import names

_ENV = 10  # where `env` is among the arguments of Popen that are given by position


def pass_on_parents() -> None:
    """Let `subprocess` and multiprocessing's spawn pass the current span on. Called once.

    A forked child has the span in its context; one that is started in another way is a child of
    what this process was started in.
    """
    from multiprocessing import util

    _patch(subprocess.Popen, "__init__", _popen)
    _patch(util, "spawnv_passfds", _spawn)


def traceparent() -> str:
    """The current span as W3C has it; empty where there is none."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid or not context.trace_flags.sampled:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def _patch(holder: Any, name: str, make: Callable[[Any], Any]) -> None:
    setattr(holder, name, make(getattr(holder, name)))


def _popen(original: Any) -> Any:
    @wraps(original)
    def started(self: Any, *args: Any, **options: Any) -> None:
        current = traceparent()
        if current and len(args) > _ENV:
            environment = _within(args[_ENV], current)
            args = (*args[:_ENV], environment, *args[_ENV + 1 :])
        elif current:
            options["env"] = _within(options.get("env"), current)
        original(self, *args, **options)

    return started


def _within(environment: Any, current: str) -> Any:
    """The environment with the span; one that leaves ours out is left as it is."""
    if environment is None:
        environment = os.environ
    if names.JOURNAL not in environment:
        return environment
    return {**environment, names.TRACEPARENT: current}


def _spawn(original: Any) -> Any:
    one_at_a_time = threading.Lock()

    @wraps(original)
    def started(*args: Any, **options: Any) -> Any:
        current = traceparent()
        if not current:
            return original(*args, **options)
        with one_at_a_time:
            before = os.environ.get(names.TRACEPARENT)
            os.environ[names.TRACEPARENT] = current
            try:
                return original(*args, **options)
            finally:
                if before is None:
                    os.environ.pop(names.TRACEPARENT, None)
                else:
                    os.environ[names.TRACEPARENT] = before

    return started
