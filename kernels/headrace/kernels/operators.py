"""Registration of operators.

`torch.library.custom_op` imports the compiler at the first call of its operator (seconds, and
Triton with it), even where nothing is ever compiled. Definition and implementation alone do not.
"""

from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, cast

import torch

P = ParamSpec("P")
R = TypeVar("R")


def operator(
    name: str, *, mutates: Iterable[str] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator: registers a function as the operator `headrace::name` on every device.

    Its result must alias none of its arguments.
    """

    def register(function: Callable[P, R]) -> Callable[P, R]:
        qualified = f"headrace::{name}"
        schema = torch.library.infer_schema(function, mutates_args=tuple(mutates))
        torch.library.define(qualified, schema)
        torch.library.impl(qualified, "CompositeExplicitAutograd", function)
        return cast(Callable[P, R], getattr(torch.ops.headrace, name).default)

    return register


def fake(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the shapes of the results of `headrace::name`, for the compiler."""
    register: Callable[[Callable[..., Any]], Callable[..., Any]]
    register = torch.library.register_fake(f"headrace::{name}")
    return register
