"""The demo's data directory and settings: its own, made new at each run."""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace.connectors.settings import Names, is_secret, keys
from headrace.infra.errors import SettingsError
from headrace.infra.launch import background
from headrace.infra.settings import Settings, load

MARKER = "demo.toml"


def prepare(
    settings: Settings, overrides: Mapping[str, Mapping[str, Any]]
) -> tuple[Settings, Path]:
    """Empty the data directory of an earlier demo and write this one's settings file.

    Stops an earlier demo that still runs. Raises SettingsError where the directory holds data
    that no demo made.
    """
    directory = settings.directory
    if directory.exists() and any(directory.iterdir()):
        if not (directory / MARKER).exists():
            raise SettingsError(
                f"{directory} holds data that no demo made, and a demo begins with an empty log: "
                "set HEADRACE_DATA_DIRECTORY to another folder"
            )
        background.stop(directory)
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = directory / MARKER
    file.write_text(_toml(settings, overrides))
    return load(file), file


def _toml(settings: Settings, overrides: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["# Written by `headrace demo`."]
    for section in dataclasses.fields(settings):
        lines.append(f"\n[{section.name}]")
        part = getattr(settings, section.name)
        if isinstance(part, Names):
            named = {**part.entries, **overrides.get(section.name, {})}
            lines += [f"{json.dumps(name)} = {json.dumps(text)}" for name, text in named.items()]
            continue
        for key in keys(type(part)):
            if is_secret(key):
                continue  # secrets come from the environment only
            value = overrides.get(section.name, {}).get(key.name, getattr(part, key.name))
            if section.name == "data" and key.name == "directory":
                value = str(settings.directory)
            if value is None:
                continue  # TOML has no word for what is not given
            lines.append(f"{key.name} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"
