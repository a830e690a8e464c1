"""Lines for an agent that wants to say more: `reward`, `tool` and `span`.

They find their attempt by themselves: under `headrace run` and `headrace work --command` in the
environment, in a function that `headrace work --agent` runs in its context. Outside of any attempt
the agent runs as without them.
"""

import functools
import inspect
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ParamSpec, TypeVar, overload

from headrace.connectors.described import as_json, as_name, as_number
from headrace.connectors.instrument import names
from headrace.connectors.instrument.child import begin
from headrace.connectors.instrument.journal import Journal, journal_here
from headrace.connectors.sdk.attempt import ToolResult, current_attempt
from headrace.schemas import new_span_id
from headrace.schemas.vocabulary import SpanKind, SpanStatus

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
_SCOPE = "headrace"
_told: set[str] = set()


def reward(value: float, name: str = "reward", *, target: str = "") -> None:
    """Give the attempt that this code runs in a reward.

    `target` is the id of a call or response that it is for; empty: the whole attempt. Outside of
    any attempt nothing happens, but for one line in the log.

    Example: `reward(0.5, name="quality")`.
    """
    if (attempt := current_attempt()) is not None:
        attempt.reward(name, value, target)
    elif (journal := _journal("reward")) is not None:
        number, _ = as_number(value)
        journal.write(
            {
                "k": "reward",
                "id": new_span_id(),
                "parent": _current_span(),
                "name": as_name(name),
                "at": time.time_ns(),
                "value": number,
                "target": as_name(target),
            }
        )


class SpanNotes:
    """What is to be said of a span; fill `attributes` inside the `with` block."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self.attributes = dict(attributes)


class _Decorating:
    """A context manager that decorates functions too, each call with a block of its own."""

    def __init__(self, open_: Callable[[Any], AbstractContextManager[Any]]) -> None:
        self._open = open_
        self._entered: list[AbstractContextManager[Any]] = []

    def __enter__(self) -> Any:
        self._entered.append(self._open(None))
        return self._entered[-1].__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        return self._entered.pop().__exit__(*error)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        return _wrapped(function, self._open)


class Spanning(_Decorating):
    """What `span` gives: a context manager of SpanNotes, and a decorator."""

    def __enter__(self) -> SpanNotes:
        notes: SpanNotes = super().__enter__()
        return notes


class Tooling(_Decorating):
    """What `tool` gives: a context manager of ToolResult, and a decorator."""

    def __enter__(self) -> ToolResult:
        result: ToolResult = super().__enter__()
        return result


def span(name: str, **attributes: Any) -> Spanning:
    """A step of the agent, as a context manager or a decorator.

    An exception makes its status `error` and goes on.

    Example:
        with span("plan", tries=3) as here:
            here.attributes["steps"] = len(plan())
    """
    return Spanning(lambda _: _span(as_name(name), attributes))


@overload
def tool(name: Callable[P, R]) -> Callable[P, R]: ...
@overload
def tool(name: str, arguments: Any = None) -> Tooling: ...
def tool(name: Any, arguments: Any = None) -> Any:
    """A tool of the agent: a decorator, which records arguments and result, or a context manager.

    An exception makes its status `error` and goes on.

    Example:
        @tool
        def search(query): ...

        with tool("search", {"query": "otters"}) as result:
            result.output = search("otters")
    """
    if not isinstance(name, str) and callable(name):
        return tool(getattr(name, "__name__", "tool"))(name)
    return Tooling(lambda given: _tool(as_name(name), arguments if given is None else given))


def _wrapped(
    function: Callable[P, R], open_: Callable[[Any], AbstractContextManager[Any]]
) -> Callable[P, R]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
            with open_(_given(function, args, kwargs)) as result:
                output = await function(*args, **kwargs)
                result.output = output
            return output

        return awaited  # type: ignore[return-value]  # R is its awaitable

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        with open_(_given(function, args, kwargs)) as result:
            output = function(*args, **kwargs)
            result.output = output
        return output

    return called


def _given(function: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by name, without the object that it is a method of."""
    try:
        given = dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):  # the call itself will say what is wrong
        return {"args": args, **kwargs}
    given.pop("self", None)
    return given


@contextmanager
def _tool(name: str, arguments: Any) -> Iterator[ToolResult]:
    result = ToolResult()
    if (attempt := current_attempt()) is not None:
        with attempt.tool(name, arguments) as result:
            yield result
        return
    if _journal("tool") is None:
        yield result
        return
    facts = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
    if arguments is not None:
        facts["gen_ai.tool.call.arguments"] = as_json(arguments).text
    with _traced(f"execute_tool {name}", facts) as traced:
        yield result
        if result.output is not None:
            traced.set_attribute("gen_ai.tool.call.result", as_json(result.output).text)


@contextmanager
def _span(name: str, attributes: Mapping[str, Any]) -> Iterator[SpanNotes]:
    notes = SpanNotes(attributes)
    if (attempt := current_attempt()) is not None:
        started_at, status = time.time_ns(), SpanStatus.OK
        try:
            yield notes
        except BaseException:
            status = SpanStatus.ERROR
            raise
        finally:
            told = as_json(notes.attributes, mark=True).text if notes.attributes else ""
            attempt.record(
                SpanKind.SPAN, name, status=status, started_at=started_at, attributes=told
            )
        return
    if _journal("span") is None:
        yield notes
        return
    with _traced(name, {}) as traced:
        try:
            yield notes
        finally:
            for key, value in notes.attributes.items():
                plain = isinstance(value, (str, bool, int, float))
                traced.set_attribute(as_name(key), value if plain else as_json(value).text)


def _traced(name: str, attributes: Mapping[str, str]) -> AbstractContextManager[Any]:
    from opentelemetry import trace

    return trace.get_tracer(_SCOPE).start_as_current_span(name, attributes=attributes)


def _current_span() -> str:
    """The span that this code runs in; empty: none."""
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return f"{context.span_id:016x}" if context.is_valid else ""


def _journal(what: str) -> Journal | None:
    """The journal of the attempt that the environment names; None: say so, once."""
    folder = os.environ.get(names.JOURNAL, "")
    if folder and journal_here() is None:
        begin(folder)  # this Python was started without `sitecustomize`
    journal = journal_here()
    if journal is None and what not in _told:
        _told.add(what)
        logger.info("%s(): outside of any attempt, so nothing is recorded", what)
    return journal
