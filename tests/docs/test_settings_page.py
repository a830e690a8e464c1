"""docs/settings.md names every setting with its default."""

import dataclasses
import json
from pathlib import Path

from headrace.connectors.settings import keys, variable
from headrace.infra.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_every_setting_is_documented_with_its_default() -> None:
    page = PAGE.read_text(encoding="utf-8")
    defaults = Settings()
    missing = []
    for section in dataclasses.fields(defaults):
        part = getattr(defaults, section.name)
        for key in keys(type(part)):
            default = json.dumps(getattr(part, key.name))
            row = f"| `{key.name}` | `{default}` | `{variable(section.name, key.name)}` |"
            if row not in page:
                missing.append(row)
    assert missing == []
