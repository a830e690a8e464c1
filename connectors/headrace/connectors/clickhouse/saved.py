"""Saved queries: one file each, of which docs/sql.md, `headrace sql @NAME`, the console's pad and
the tests are made.

A file begins with comments: what the view or table holds, then a line `param NAME TYPE = DEFAULT`
for each parameter, which the query names as `{NAME:TYPE}`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_PARAMETER = re.compile(r"param (\w+) (\w+) = (.*)")


@dataclass(kw_only=True, slots=True, frozen=True)
class Parameter:
    """A value that a query is asked with: ClickHouse's type, and what is meant if none is given."""

    type: str
    default: str

    @property
    def literal(self) -> str:
        """The default as SQL."""
        if self.type != "String":
            return self.default
        escaped = self.default.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"


@dataclass(kw_only=True, slots=True, frozen=True)
class SavedQuery:
    """A query that is kept under a name."""

    name: str
    about: str
    """What it asks and what the columns mean, for people; Markdown without blocks."""
    sql: str
    parameters: Mapping[str, Parameter]

    def values(self, given: Mapping[str, str] | None = None) -> dict[str, str]:
        """A value for each parameter: the given one, else the default.

        Raises:
            ValueError: a parameter that the query does not have.
        """
        unknown = sorted(set(given or {}) - set(self.parameters))
        if unknown:
            has = ", ".join(self.parameters) or "none"
            raise ValueError(f"@{self.name} has no parameter {', '.join(unknown)}; it has: {has}")
        return {name: one.default for name, one in self.parameters.items()} | dict(given or {})

    def filled(self) -> str:
        """The query with its defaults in place, to be run by any client."""
        text = self.sql
        for name, one in self.parameters.items():
            text = text.replace(f"{{{name}:{one.type}}}", one.literal)
        return text


@cache
def saved_queries() -> Mapping[str, SavedQuery]:
    """All saved queries by name, in the order of their names."""
    folder = files(__package__).joinpath("queries")
    found = {
        file.name.removesuffix(".sql"): file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    }
    return MappingProxyType({name: parse(name, text) for name, text in sorted(found.items())})


def parse(name: str, text: str) -> SavedQuery:
    """A saved query from its file's text."""
    about: list[str] = []
    parameters: dict[str, Parameter] = {}
    sql: list[str] = []
    for line in text.splitlines():
        if sql or not line.startswith("--"):
            sql.append(line)
            continue
        comment = line.removeprefix("--").strip()
        if told := _PARAMETER.fullmatch(comment):
            parameters[told[1]] = Parameter(type=told[2], default=told[3])
        else:
            about.append(comment)
    return SavedQuery(
        name=name,
        about=" ".join(about),
        sql="\n".join(sql).strip(),
        parameters=MappingProxyType(parameters),
    )
