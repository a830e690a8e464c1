"""Settings: a section of `headrace.toml` is the configuration class of a part. Pure.

A class declares its keys once, with default, range and documentation. What the file says and what
the environment says (`[section] key` is `HEADRACE_SECTION_KEY`) are read by the same code, in the
command line and in every part, and all faults are told at once.
"""

import dataclasses
import json
import math
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

PREFIX = "HEADRACE_"
T = TypeVar("T")

_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_PORTS = (1, 65_535)

SERVERS = ("HEADRACE_KAFKA_BOOTSTRAP", "HEADRACE_REGISTRY_URL", "HEADRACE_CLICKHOUSE_URL")
"""Where a stage's servers are."""

RENAMED: Mapping[tuple[str, str], tuple[str, str]] = {
    ("gateway", "dtype"): ("policy", "dtype"),
    ("trainer", "compute_dtype"): ("policy", "dtype"),
    ("gateway", "drain_seconds"): ("gateway", "drain_s"),
    ("gateway", "retry_seconds"): ("gateway", "retry_s"),
    ("assemble", "unknown_schema_seconds"): ("streams", "unknown_schema_s"),
    ("assemble", "take_records"): ("streams", "take_records"),
    ("assemble", "take_ms"): ("streams", "take_ms"),
}
"""(section, key) of old -> of now: an old key is refused with the new one's name."""
REPLACED: Mapping[tuple[str, str], str] = {
    ("credit", "train_agents"): (
        'is now the section [agents]: NAME = "POLICY" for an agent that is trained, '
        '"*" = "untrained" (or "frozen") for the others'
    ),
}
"""Old keys that are no single key now, with what to do."""


@dataclasses.dataclass(kw_only=True, slots=True, frozen=True)
class Names:
    """A section whose keys are names that the user gives; its variable holds them as JSON.

    Example:
        Names(entries={"checker": "frozen"})  # HEADRACE_AGENTS='{"checker": "frozen"}'
    """

    entries: Mapping[str, str] = dataclasses.field(default_factory=dict, metadata={"inner": True})
    """Its texts by name."""


class Fault(NamedTuple):
    """What is wrong with one key, as the rest of a sentence that begins with its name."""

    section: str
    key: str
    text: str
    source: str = ""
    """Where the value is from: a file's name or a variable's; empty: from the program."""

    def __str__(self) -> str:
        source = f" ({self.source})" if self.source else ""
        return f"[{self.section}]{self.key and ' '}{self.key}{source} {self.text}"


class BadSettings(ValueError):
    """Settings that cannot be used: every fault, a line each."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, faults)))


class Range(NamedTuple):
    """What a value may be; ends included."""

    least: float = -math.inf
    most: float = math.inf
    choices: tuple[str, ...] = ()

    def refuses(self, value: Any) -> str:
        """Why a value is outside, with what to give; empty: it is inside."""
        if self.choices:
            return "" if value in self.choices else f"give {' or '.join(self.choices)}"
        if isinstance(value, float) and not math.isfinite(value):
            return "give a finite number"
        if self.least <= value <= self.most:
            return ""
        if self.most == math.inf:
            return f"give {self.least:g} or more"
        return f"give {self.least:g} to {self.most:g}"


def key(
    default: Any,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    choices: Iterable[str] = (),
    secret: bool = False,
) -> Any:
    """A key of a section: a dataclass field with its range. Secrets stay out of every repr."""
    metadata = {"range": Range(least, most, tuple(choices)), "secret": secret}
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


def tcp_port(default: int, *, least: int = _PORTS[0]) -> Any:
    """A key for a TCP port."""
    return key(default, least=least, most=_PORTS[1])


def pem_file() -> Any:
    """A key for the path of a PEM file; empty: none."""
    return dataclasses.field(default="", metadata={"file": True})


def inner(default: Any = dataclasses.MISSING, **arguments: Any) -> Any:
    """A field that is no setting: the program fills it."""
    return dataclasses.field(default=default, metadata={"inner": True}, **arguments)


def keys(section: type) -> Iterator["dataclasses.Field[Any]"]:
    """The fields of a section's class that are settings."""
    return (one for one in dataclasses.fields(section) if not one.metadata.get("inner"))


def is_secret(one: "dataclasses.Field[Any]") -> bool:
    """Whether a key's value may be shown nowhere."""
    return bool(one.metadata.get("secret"))


def variable(section: str, name: str) -> str:
    """The environment variable of a key."""
    return f"{PREFIX}{section}_{name}".upper()


def check(config: Any, section: str, *more: tuple[str, str]) -> None:
    """Check every key's range, for a section's `__post_init__`.

    more: further faults, (key, what is wrong with it); an empty text is none. Raises BadSettings.
    """
    faults = [Fault(section, *one) for one in more if one[1]]
    for one in keys(type(config)):
        value = getattr(config, one.name)
        limits = one.metadata.get("range", Range())
        if not isinstance(value, (bool, tuple)) and (why := _outside(limits, value)):
            faults.append(Fault(section, one.name, f"is {shown(one, value)}: {why}"))
        if one.metadata.get("file") and value and not Path(value).is_file():
            faults.append(Fault(section, one.name, f"is {value!r}: there is no such file"))
    if faults:
        raise BadSettings(faults)


def shown(one: "dataclasses.Field[Any]", value: Any) -> str:
    """A value as a message may show it."""
    return "what it is" if is_secret(one) else repr(value)


def read(
    cls: type[T], section: str, values: Mapping[str, Any], source: Callable[[str], str]
) -> tuple[T | None, list[Fault]]:
    """A section made of raw values (of a file or the environment), and all that is wrong with it.

    A key whose value cannot be read keeps its default, so that the others are checked too.

    Args:
        cls: its class.
        section: its name.
        values: by key; texts are converted.
        source: where a key's value is from, for messages.
    """
    if issubclass(cls, Names):
        return _read_names(cls, section, values, source)
    hints = typing.get_type_hints(cls)
    known = {one.name: one for one in keys(cls)}
    faults: list[Fault] = []
    given: dict[str, Any] = {}
    for name, value in values.items():
        if (section, name) in RENAMED or (section, name) in REPLACED:
            faults.append(_renamed(section, name, source(name)))
            continue
        if name not in known:
            text = f"is no setting: there are {', '.join(known)}"
            faults.append(Fault(section, name, text, source(name)))
            continue
        try:
            given[name] = converted(hints[name], value)
        except (ValueError, TypeError):
            text = f"is {shown(known[name], value)}: give {kind(hints[name])}"
            faults.append(Fault(section, name, text, source(name)))
    try:
        return cls(**given), faults
    except BadSettings as error:
        named = [one._replace(source=source(one.key)) for one in error.faults]
        return None, faults + named


def _read_names(
    cls: type[Any], section: str, values: Mapping[str, Any], source: Callable[[str], str]
) -> tuple[Any, list[Fault]]:
    faults = [
        Fault(section, name, f"is {value!r}: give text", source(name))
        for name, value in values.items()
        if not isinstance(value, str)
    ]
    try:
        return cls(entries={k: v for k, v in values.items() if isinstance(v, str)}), faults
    except BadSettings as error:
        return None, faults + [one._replace(source=source(one.key)) for one in error.faults]


def names_variable(section: str) -> str:
    """The environment variable of a section of names."""
    return f"{PREFIX}{section}".upper()


def names_in(section: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What a section's variable holds; nothing where it is unset or empty.

    Raises:
        BadSettings: it is no JSON object.
    """
    name = names_variable(section)
    try:
        found = json.loads(environment.get(name) or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        text = f'is {environment[name]!r}: give a JSON object, as {{"name": "value"}}'
        raise BadSettings([Fault(section, "", text, name)])
    return found


def from_environment(cls: type[T], section: str, environment: Mapping[str, str]) -> T:
    """A section from its variables; what is unset or empty keeps its default.

    Raises:
        BadSettings: names each variable that cannot be used.
    """
    has_names = issubclass(cls, Names)
    values = names_in(section, environment) if has_names else _set_in(cls, section, environment)
    made, faults = read(
        cls,
        section,
        values,
        lambda name: names_variable(section) if has_names else variable(section, name),
    )
    if faults or made is None:
        raise BadSettings(faults)
    return made


def _set_in(cls: type, section: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """A section's keys whose variables are set and not empty."""
    return {
        one.name: environment[name]
        for one in keys(cls)
        if environment.get(name := variable(section, one.name))
    }


def sections_from_environment(
    sections: Mapping[str, type], environment: Mapping[str, str], *, wanted: Sequence[str] = ()
) -> dict[str, Any]:
    """Several sections by name, as `from_environment` reads each.

    wanted: variables that must be set.

    Raises:
        BadSettings: the faults of all of them, and variables that have another name now.
    """
    faults = [*renamed(environment), *_missing(wanted, environment)]
    made: dict[str, Any] = {}
    for name, cls in sections.items():
        try:
            made[name] = from_environment(cls, name, environment)
        except BadSettings as error:
            faults += error.faults
    if faults:
        raise BadSettings(faults)
    return made


def _missing(wanted: Sequence[str], environment: Mapping[str, str]) -> Iterator[Fault]:
    for name in wanted:
        if not environment.get(name):
            section, _, one = name.removeprefix(PREFIX).lower().partition("_")
            yield Fault(section, one, "is not set: `headrace up` sets it", name)


def renamed(environment: Mapping[str, str]) -> Iterator[Fault]:
    """Variables that are set and have another name now."""
    for section, old in (*RENAMED, *REPLACED):
        if (name := variable(section, old)) in environment:
            yield _renamed(section, old, name)


def _renamed(section: str, old: str, source: str) -> Fault:
    if told := REPLACED.get((section, old)):
        return Fault(section, old, told, source)
    to, new = RENAMED[section, old]
    return Fault(section, old, f"is now [{to}] {new} ({variable(to, new)}): set that one", source)


def to_environment(section: str, config: Any) -> dict[str, str]:
    """A section's keys as variables, as `from_environment` reads them."""
    if isinstance(config, Names):
        return {names_variable(section): json.dumps(dict(config.entries))}
    return {
        variable(section, one.name): text_of(getattr(config, one.name))
        for one in keys(type(config))
    }


def text_of(value: Any) -> str:
    """A value as an environment variable holds it; None (a key left open) is empty."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return json.dumps(value) if any(_is_torn(item) for item in value) else ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def converted(hint: Any, value: Any) -> Any:
    """A raw value as the type of its key. Raises ValueError or TypeError."""
    if (given := _given(hint)) is not hint:
        return None if value in (None, "") else converted(given, value)
    if typing.get_origin(hint) is tuple:
        items = _items(value) if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not all(isinstance(i, str) for i in items):
            raise TypeError(value)
        return tuple(item.strip() for item in items if item.strip())
    hint = str if typing.get_origin(hint) is typing.Literal else hint
    if hint is bool and isinstance(value, str):
        if value.lower() not in _FLAGS:
            raise ValueError(value)
        return _FLAGS[value.lower()]
    if hint is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, str):
        return int(value)
    if type(value) is not hint:
        raise TypeError(value)
    return value


def _is_torn(item: str) -> bool:
    """Whether a comma-separated list would not give an item back."""
    return "," in item or item != item.strip() or item.startswith("[")


def _items(text: str) -> Any:
    """A list as a variable holds it: separated by commas or, where an item has one, as JSON."""
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError as error:
            raise TypeError(text) from error
    return text.split(",")


def _given(hint: Any) -> Any:
    """The type of a key's value where it is given: `float` of `float | None`."""
    kinds = typing.get_args(hint)
    return kinds[0] if kinds[1:] == (type(None),) else hint


def kind(hint: Any) -> str:
    """A type in a user's words."""
    hint = _given(hint)
    return _KINDS.get(hint, "a list of texts" if typing.get_origin(hint) is tuple else "text")


def _outside(limits: Range, value: Any) -> str:
    if isinstance(value, str) and not limits.choices:
        return ""
    return "" if value is None else limits.refuses(value)
