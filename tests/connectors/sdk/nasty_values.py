"""Values that an agent may have in hand and that are hard to write down."""

import datetime
import decimal
import enum
import math
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st


class StrRaises:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class StrExits:
    def __str__(self) -> str:
        raise SystemExit(3)


class StrIsNone:
    def __str__(self) -> str:
        return None  # type: ignore[return-value]  # what it is about


class Evil:
    """Every question about it raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        return 1

    def __str__(self) -> str:
        raise RuntimeError("str")

    __repr__ = __str__


class LiesAboutItsClass:
    @property  # type: ignore[misc]  # what it is about
    def __class__(self) -> type:
        raise RuntimeError("class")


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__name__", "__qualname__", "__module__", "__dataclass_fields__"):
            raise RuntimeError(name)
        return super().__getattribute__(name)


def evil_class() -> Any:
    class Nameless(metaclass=Meta):
        pass

    return Nameless


class EvilDict(dict[Any, Any]):
    def items(self) -> Any:
        raise RuntimeError("items")

    __iter__ = keys = items


class EvilList(list[Any]):
    def __iter__(self) -> Any:
        raise RuntimeError("iter")

    __len__ = __iter__


class EvilText(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("str")

    def encode(self, *_: Any, **__: Any) -> bytes:
        raise RuntimeError("encode")


class EvilInt(int):
    def __repr__(self) -> str:
        raise RuntimeError("repr")

    __int__ = __float__ = __index__ = __str__ = __repr__  # type: ignore[assignment]  # likewise


class FloatRaises:
    def __float__(self) -> float:
        raise KeyError("no float")


@dataclass
class Point:
    x: Any = 1
    inner: Any = field(default_factory=StrRaises)


class Colour(enum.Enum):
    RED = 1


Pair = namedtuple("Pair", "a b")


def circular() -> list[Any]:
    found: list[Any] = [1]
    found.append({"again": found})
    return found


def own_key() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["me"] = found
    return found


def deep(levels: int) -> Any:
    found: Any = "bottom"
    for _ in range(levels):
        found = [found]
    return found


def many() -> Any:
    """2^40 leaves, each list but twice in the next."""
    found: Any = ["leaf"]
    for _ in range(40):
        found = [found, found]
    return found


def without_field() -> Point:
    point = Point()
    del point.x
    return point


NASTY: list[Callable[[], Any]] = [
    lambda: {(1, 2): "tuple", None: 0, 1.5: 0, True: 0, StrRaises(): 1},
    lambda: {1: "a", "1": "b"},
    circular,
    own_key,
    StrRaises,
    StrExits,
    StrIsNone,
    Evil,
    LiesAboutItsClass,
    evil_class,
    lambda: evil_class()(),
    lambda: EvilDict(a=1),
    lambda: EvilList([1, 2]),
    lambda: EvilText("text"),
    lambda: EvilInt(5),
    lambda: {EvilText("key"): EvilInt(1)},
    FloatRaises,
    lambda: 10**5_000,
    lambda: {-(10**5_000): 10**5_000},
    lambda: [math.nan, math.inf, -math.inf],
    lambda: math.nan,
    lambda: b"\x00\xff\xfe",
    lambda: bytearray(b"text"),
    lambda: memoryview(b"text"),
    lambda: "half \ud800 of a pair",
    lambda: {"\udfff": "\ud800"},
    lambda: (i for i in range(3)),
    lambda: deep(100_000),
    many,
    lambda: ["x" * 3_000_000] * 100,
    Point,
    without_field,
    lambda: Point(x=circular()),
    lambda: Colour.RED,
    lambda: Pair(1, {2, 3}),
    lambda: OrderedDict(a=frozenset([1])),
    lambda: decimal.Decimal("1.5"),
    lambda: datetime.datetime(2026, 1, 1),
    lambda: np.arange(5),
    lambda: [np.float32(0.5), np.int64(3), np.bool_(True)],
    lambda: complex(1, 2),
    object,
    lambda: print,
    lambda: ValueError(StrRaises()),
    lambda: None,
    lambda: {"plain": [1, 2.5, "three", None, True]},
]


@dataclass(frozen=True)
class Nasty:
    """Stands for NASTY[number]: hypothesis itself falls to some of them."""

    number: int


def built(recipe: Any) -> Any:
    """The value of a recipe."""
    if isinstance(recipe, Nasty):
        return NASTY[recipe.number]()
    if isinstance(recipe, list):
        return [built(part) for part in recipe]
    if isinstance(recipe, dict):
        return {key: built(part) for key, part in recipe.items()}
    return recipe


recipes = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.binary(max_size=20),
        st.builds(Nasty, st.integers(0, 26) | st.integers(30, len(NASTY) - 1)),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner, max_size=3)
    ),
    max_leaves=8,
)
