"""What a rule's code is: a digest by which a changed rule is noticed, and its text. Pure.

Of the function and of what it names in its own module: functions, classes and plain constants, and
of their names in turn. Comments, formatting and docstrings do not count; nor does the code of other
modules. Functions of headrace's own count by their names: what changes in them is told in its
changelog.
"""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

_DIGITS = 10
_OURS = "headrace."
_PLAIN = (str, bytes, int, float, complex, bool, type(None))


def digest_of(*functions: Callable[..., Any] | None, facts: Mapping[str, object]) -> str:
    """The digest of a rule's functions, ten hexadecimal digits; `facts`: what else it depends on,
    such as weights."""
    parts = [f"{name}={facts[name]!r}" for name in sorted(facts)]
    for function in functions:
        parts += sorted(_parts(function, set())) if function is not None else ["-"]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_DIGITS]


def text_of(function: Callable[..., Any]) -> str:
    """The source of a function as it was written; '' where there is none to be had."""
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return ""


def _parts(thing: Any, seen: set[int]) -> Iterator[str]:
    """The code of a function or class and of all that it names in its module, a text each."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    if id(thing) in seen:
        return
    seen.add(id(thing))
    ours = str(getattr(thing, "__module__", "")).startswith(_OURS)
    yield thing.__qualname__ if ours else _normal(thing)
    for name, named in _named(thing):
        if inspect.isfunction(named) or inspect.isclass(named):
            if not ours and named.__module__ == getattr(thing, "__module__", ""):
                yield from _parts(named, seen)
        elif _is_plain(named):
            yield f"{name}={named!r}"


def _normal(thing: Any) -> str:
    """Source without comments, formatting and docstrings; bytecode where there is no source."""
    text = text_of(thing)
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a lambda in the middle of an expression
        return text
    if not text:
        code = getattr(thing, "__code__", None)
        return repr(_of_code(code)) if code is not None else repr(thing)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            # A rule's decorator names its version, which is beside the digest.
            node.decorator_list = []
    return ast.unparse(tree)


def _of_code(code: CodeType) -> tuple[object, ...]:
    constants = tuple(
        _of_code(each) if isinstance(each, CodeType) else each for each in code.co_consts
    )
    return code.co_code, code.co_names, constants


def _named(thing: Any) -> Iterator[tuple[str, Any]]:
    """Names that code uses, with what they stand for: of its module, its closure, its defaults."""
    functions = [thing] if isinstance(thing, FunctionType) else []
    if inspect.isclass(thing):
        functions = [each for each in vars(thing).values() if isinstance(each, FunctionType)]
    for function in functions:
        for name in sorted(_names(function.__code__)):
            if name in function.__globals__:
                yield name, function.__globals__[name]
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            try:
                yield name, cell.cell_contents
            except ValueError:  # not yet filled
                continue
        for number, default in enumerate(function.__defaults__ or ()):
            yield f"default {number}", default


def _names(code: CodeType) -> set[str]:
    nested = [each for each in code.co_consts if isinstance(each, CodeType)]
    return set(code.co_names).union(*map(_names, nested))


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list | set | frozenset):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(each) for pair in value.items() for each in pair)
    return isinstance(value, _PLAIN)
