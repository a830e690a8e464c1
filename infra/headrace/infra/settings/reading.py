"""What `headrace.toml` and the environment say, read as settings, and all that is wrong with it."""

import os
import tomllib
import typing
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from headrace.connectors.settings import (
    BadSettings,
    Names,
    keys,
    names_in,
    names_variable,
    read,
    renamed,
    variable,
)
from headrace.infra.errors import SettingsError
from headrace.infra.settings.sections import Settings
from headrace.infra.settings.together import conflicts, followed

FILE_NAME = "headrace.toml"


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Settings of a file (default: `headrace.toml` here, if it exists) and the environment.

    `overrides` (section -> key -> value) wins over both.

    Raises:
        SettingsError: the file cannot be read, or names every section, key and value of file and
            environment that cannot be.
    """
    environment = os.environ if environment is None else environment
    name = str(file or FILE_NAME)
    sections = _from_file(file)
    sources: dict[tuple[str, str], str] = {}
    for section, one in _known_keys():
        text = environment.get(variable(section, one))
        if text is not None:
            sections.setdefault(section, {})[one] = text
            sources[section, one] = variable(section, one)
    faults = [str(fault) for fault in renamed(environment)]
    for section in _sections_of_names():
        try:
            named = names_in(section, environment)
        except BadSettings as error:
            faults += map(str, error.faults)
            continue
        if named:
            sections.setdefault(section, {}).update(named)
            sources |= {(section, one): names_variable(section) for one in named}
    for section, values in (overrides or {}).items():
        sections.setdefault(section, {}).update(values)
    hints = typing.get_type_hints(Settings)
    built: dict[str, Any] = {}
    for section, values in sections.items():
        if section not in hints:
            faults.append(f"[{section}] ({name}) is no section: there are {', '.join(hints)}")
            continue
        made, found = read(
            hints[section], section, values, partial(_source, sources, name, section)
        )
        faults += map(str, found)
        built[section] = hints[section]() if made is None else made
    settings = followed(Settings(**built))
    faults += [
        str(fault._replace(source=sources.get((fault.section, fault.key), "")))
        for fault in conflicts(settings)
    ]
    if faults:
        raise SettingsError("\n".join(faults))
    return settings


def _source(sources: Mapping[tuple[str, str], str], file: str, section: str, key: str) -> str:
    return sources.get((section, key), file)


def _from_file(file: Path | None) -> dict[str, dict[str, Any]]:
    path = file or Path(FILE_NAME)
    if not path.exists():
        if file is not None:
            raise SettingsError(f"no settings file {file}")
        return {}
    try:
        sections: dict[str, Any] = tomllib.loads(_text_of(path))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no TOML: {error}") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    for section, values in sections.items():
        if not isinstance(values, dict):
            raise SettingsError(f"{path}: `{section}` must be in a section, as [part] key = …")
    return sections


def _text_of(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8, which TOML has to "
            "be; the file seems to be in another encoding (latin-1?): save it as UTF-8"
        ) from error


def _known_keys() -> Iterator[tuple[str, str]]:
    for name, cls in typing.get_type_hints(Settings).items():
        yield from ((name, one.name) for one in keys(cls))


def _sections_of_names() -> Iterator[str]:
    hints = typing.get_type_hints(Settings)
    return (name for name, cls in hints.items() if issubclass(cls, Names))
